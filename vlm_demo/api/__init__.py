"""API: the page's model for programs, on the page's port: an OpenAI-compatible server, and Gradio's endpoints."""
