"""Embeddings: encoder models of our own, decoder models of mlx-lm, one scheduler for both.

``settings`` reads what a model's folder says about embedding; ``bert`` and ``modernbert`` are
the encoder families and ``decoder`` wraps a language model; ``pooling`` turns token vectors
into text vectors; ``model`` puts these together; ``inputs`` makes tokens of texts; ``batching``
decides what runs together; ``scheduler`` runs it; ``engine`` is an ``EngineClient`` for models
that only embed. Import the module you need: this package itself imports nothing.
"""
