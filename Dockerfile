# lkca and what it needs, for Kubernetes: docs/howto/cluster.md. PyPI's torch brings CUDA with it, and the node its
# driver, by NVIDIA's container runtime; without a GPU it computes on the CPU.
FROM python:3.12-slim

# git tells results which commit they are from, rasterio needs libexpat, Snakemake's shared storage rsync
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libexpat1 rsync \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/lkca
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt '.[kubernetes]'

# The volume that all jobs share is mounted at /lkca, and the checkout copied there: cp -r /opt/lkca/. /lkca
RUN useradd --create-home --uid 1000 lkca && install --directory --owner lkca /lkca
USER 1000
WORKDIR /lkca
