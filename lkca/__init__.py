"""LKCA-Net and its field, reproduced: hyperspectral super-resolution from raw data to every table and figure."""
