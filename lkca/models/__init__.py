"""The networks. Each class `Net(bands, scale, **args)` maps (n, bands, h, w) to (n, bands, scale * h, scale * w)."""
