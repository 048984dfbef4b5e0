"""Data: documents to token shards (`corpora`), token shards to batches (`tokens`)."""
