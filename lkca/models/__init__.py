"""The networks. Each is `Net(bands, scale, **args)`: (n, bands, h, w) to (n, bands, scale * h, scale * w)."""
