"""`lkca info`: what a shared network says about itself."""

from pathlib import Path

from lkca.inference.engines import is_graph, load_torch_network
from lkca.inference.onnx_model import read_graph
from lkca.inference.shared_model import describe_bands, describe_blur, describe_network, describe_values


def info(file: Path) -> None:
    """Print what a shared network or the network of a run says about itself, a line for each fact.

    Args:
        file: A .safetensors or .onnx file that `export` has written, or the folder of a run.

    Raises:
        ConfigError, DataError, StaleInput: As in `lkca.inference.engines`.
    """
    parameters = ""
    if is_graph(file):
        facts, digest = (graph := read_graph(file)).facts, graph.sha256
    else:
        model = load_torch_network(file)
        facts, digest = model.facts, model.sha256
        from lkca.models.cost import count_parameters  # imports torch, which .onnx files do not need

        parameters = f", {count_parameters(model.network):,} parameters"
    lines = {
        "model": facts.model,
        "network": f"{describe_network(facts)}{parameters}",
        "enlarges": f"{facts.scale} times in height and width",
        "bands": describe_bands(facts),
        "sensor": facts.sensor,
        "values": describe_values(facts),
        "LR images": describe_blur(facts),
        "weights of": f"epoch {facts.epoch}",
        "tiles": f"margin of {facts.margin} pixels",
        "data": facts.source,
        "to cite": facts.citation,
        "terms": facts.terms,
        "licence": facts.licence,
        "scored by": f"commit {facts.commit}" if facts.commit else None,
        "versions": ", ".join(f"{name} {version}" for name, version in facts.versions.items()),
        "run.json": facts.run_sha256,
        "SHA-256": digest,
    }
    width = max(map(len, lines))
    for name, text in lines.items():
        print(f"{name:<{width}}  {' '.join((text or 'not stated').split())}")
