"""Snakemake reads `--configfile` and `--config` only after lkca has checked them."""

from contextlib import suppress

import pytest
import yaml
from snakemake import cli
from snakemake.common.configfile import load_configfile as snakemake_reads
from snakemake.settings.types import ConfigSettings
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry
from test_config import laughs

from tests.conftest import REPOSITORY


@pytest.fixture
def plugin(monkeypatch):
    """Work in the checkout, with the plugin as Snakemake finds and imports it."""
    monkeypatch.chdir(REPOSITORY)
    assert LoggerPluginRegistry().is_installed("lkca")


FILES = {
    "Python object": ("title: !!python/object/apply:open [pwned, w]\n", "evil.yaml:1: the tag"),
    "aliases in maps": (laughs("{b: 1}", "{", "}", "k{}: "), "50,000 values"),
    "merge keys": (laughs("{b: 1}", "{<<: [", "]}"), "50,000 values"),
    "nested lists": ("a: " + "[" * 3000, "nested too deep"),
    "bytes of Latin-1": ("title: \xff", "evil.yaml:1: this is not valid YAML"),
    "no map": ("- 1", "has no settings"),
    "empty": ("", "has no settings"),
}


@pytest.mark.parametrize(("text", "message"), FILES.values(), ids=FILES)
def test_file_is_refused_before_snakemake_reads_it(plugin, tmp_path, text, message):
    (tmp_path / "evil.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(SystemExit, match=message) as caught:
        ConfigSettings(configfiles=[tmp_path / "evil.yaml"])
    assert str(caught.value).startswith("lkca: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("entry", ["__definitions__: [{}]", "title: ?{}", "?if {}:\n  a: 1", "?for i in [{}]:\n  - ?i"])
def test_code_in_a_file_is_text(plugin, tmp_path, entry):
    pwned, file = tmp_path / "pwned", tmp_path / "evil.yaml"
    call = f"__import__('pathlib').Path('{pwned}').touch()"
    file.write_text(f"__use_yte__: true\n{entry.format(call)}\n")
    ConfigSettings(configfiles=[file])
    assert not pwned.exists()
    with suppress(Exception):  # without the plugin the code runs; it may fail later
        snakemake_reads(file)
    assert pwned.exists()


def test_what_is_no_file_is_a_sentence(plugin, tmp_path):
    for path, problem in ((tmp_path, "is a folder"), (tmp_path / "none.yaml", "No such file"), ("/dev/zero", "device")):
        with pytest.raises(SystemExit, match=rf"^lkca: {path} .*{problem}"):
            ConfigSettings(configfiles=[path])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("seeds", "seeds has no value: write KEY=VALUE"),
        ("a.b=1", r"a\.b does not exist"),
        ("modles={}", "modles does not exist: did you mean models?"),
        ("title=[a", "not valid YAML"),
        ("title=&a {b: *a}", "contains itself"),
        ("seeds=" + "[" * 50, "nested too deep"),
        (f"seeds={'9' * 5000}", "write at most 100"),
        ('title="\\e[31m"', r"U\+001B"),
    ],
)
def test_option_is_refused_before_snakemake_reads_it(plugin, option, message):
    with pytest.raises(SystemExit, match=f"^lkca: --config: .*({message})"):
        cli.parse_config([option])


def test_snakemake_gets_the_settings(plugin, tmp_path):
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"train": {"epochs": 3}}))
    settings = ConfigSettings(configfiles=[tmp_path / "own.yaml"], config=cli.parse_config(["title=x"]))
    assert settings.overwrite_config == {"train": {"epochs": 3}, "title": "x"}
    assert cli.parse_config(None) == {}


def test_other_workflows_keep_the_reader_of_snakemake(plugin, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.yaml").write_text("__use_yte__: true\na: ?1 + 1\n")
    assert ConfigSettings(configfiles=[tmp_path / "other.yaml"]).overwrite_config == {"a": 2}
    assert cli.parse_config(["other=3"]) == {"other": 3}
