"""Text to transparent PNG: SDXL with LayerDiffuse."""
