# An image with lkca for Kubernetes (docs/howto/cluster.md). torch from PyPI contains CUDA; the node's driver comes with
# NVIDIA's container runtime. Without a GPU, torch computes on the CPU.
FROM python:3.12-slim

# git finds the commit that results record; rasterio needs libexpat, and Snakemake's storage needs rsync.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libexpat1 rsync \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/lkca
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt '.[kubernetes]'

# The shared volume is mounted at /lkca. Copy the checkout there once: cp -r /opt/lkca/. /lkca
RUN useradd --create-home --uid 1000 lkca && install --directory --owner lkca /lkca
USER 1000
WORKDIR /lkca
