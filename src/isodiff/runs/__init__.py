"""What a run is made of: spec, network, checkpoint, metrics. Below training and evaluation."""
