"""From a URL to a batch: catalog, download, readers, scenes, splits, patches, resizing."""
