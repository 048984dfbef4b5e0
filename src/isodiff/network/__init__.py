"""The network: views in, predictions out. The only folder that owns parameters."""
