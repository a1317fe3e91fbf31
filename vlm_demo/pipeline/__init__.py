"""Pipeline: picture and question → answer, in this process.

    public_api     ``Pipeline``, what programs call
    answering      every step from uploads to the answer
    composition    a loaded checkpoint → the parts that do its work
    inputs         uploads → views and text, without the model
    staged, whole  prompt → tokens, of a model whose stages are known, or of one that answers in one piece
    decoding       steps of a generation → tokens
    explanations   tokens → heatmaps and badge
    scoring        picture and texts → how well each fits

Draws no page, prints nothing, and writes nothing to disk or log.
"""

from vlm_demo.pipeline.public_api import Pipeline

__all__ = ["Pipeline"]
