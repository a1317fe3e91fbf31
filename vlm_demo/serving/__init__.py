"""Serving: many copies of the pipeline behind one address. See DEPLOY.md."""
