"""What a spec costs: FLOPs, memory, the work of sampling."""
