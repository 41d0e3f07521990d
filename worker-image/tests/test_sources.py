import json
from pathlib import Path

import pytest

from model_build.sources import DEFAULT_TABLE, SourcesError, choose, read_sources

TABLE = json.loads(DEFAULT_TABLE.read_text())


def write_table(path: Path, *changes: dict[str, object], without: str = "") -> Path:
    """The real table, its first entry changed."""
    first = {**TABLE["files"][0]}
    for change in changes:
        first |= change
    first.pop(without, None)
    table = path / "sources.json"
    table.write_text(json.dumps({"format": 1, "files": [first, *TABLE["files"][1:]]}))
    return table


def test_every_file_of_the_table_is_pinned_by_size_and_hash_and_names_its_licence() -> None:
    sources = read_sources()

    assert len(sources) == len(TABLE["files"])
    for source in sources:
        assert source.bytes > 1_000_000
        assert len(bytes.fromhex(source.sha256)) == 32
        assert source.licence
        assert source.notice
        assert len(source.revision) == 40 or (source.revision == "main" and source.revision_note)


def test_only_the_checkpoints_whose_commits_are_unknown_are_pinned_by_content_alone() -> None:
    assert {source.name for source in read_sources() if source.revision == "main"} == {
        "juggernaut-xl-v6",
        "juggernaut-xl-v9",
    }


def test_the_table_holds_no_addresses_and_each_is_made_of_repository_revision_and_file() -> None:
    assert "://" not in DEFAULT_TABLE.read_text()
    for source in read_sources():
        assert source.url() == f"https://huggingface.co/{source.repo}/resolve/{source.revision}/{source.file}"
        assert source.url("http://127.0.0.1:9/").startswith(f"http://127.0.0.1:9/{source.repo}/")


def test_the_default_checkpoint_is_the_one_whose_licence_allows_a_service() -> None:
    default = [source for source in read_sources() if source.is_default]

    assert [source.name for source in default] == ["sdxl-base"]


@pytest.mark.parametrize("name", ["juggernaut-xl-v6", "juggernaut-xl-v9"])
def test_the_juggernaut_notices_say_that_api_services_are_not_permitted(name: str) -> None:
    checkpoint = choose(read_sources(), name)[0]

    assert "not permitted to be used behind API services" in checkpoint.describe_licence()


def test_a_checkpoint_is_chosen_with_the_three_other_files() -> None:
    chosen = choose(read_sources(), "juggernaut-xl-v9")

    assert [source.name for source in chosen] == [
        "juggernaut-xl-v9",
        "vae",
        "attention-lora",
        "transparent-decoder",
    ]


def test_an_unknown_checkpoint_is_refused_with_the_list() -> None:
    with pytest.raises(SourcesError, match="no checkpoint 'sdxl'; there are sdxl-base, juggernaut-xl-v6"):
        choose(read_sources(), "sdxl")


@pytest.mark.parametrize(
    "key", ["name", "kind", "repo", "file", "revision", "bytes", "sha256", "licence", "notice", "default"]
)
def test_an_entry_that_lacks_a_field_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(SourcesError, match=key):
        read_sources(write_table(tmp_path, without=key))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sha256", "31e3"),
        ("sha256", "Z" * 64),
        ("bytes", 0),
        ("bytes", "6938078334"),
        ("revision", "main"),
        ("revision", "4621659840"),
        ("revision_note", "not needed beside a commit"),
        ("repo", "https://example.org/a"),
        ("repo", "../a"),
        ("file", "a/../b.safetensors"),
        ("file", "model.ckpt"),
        ("kind", "upscaler"),
        ("licence", ""),
        ("aliases", "sd_xl"),
        ("url", "https://example.org/"),
    ],
)
def test_an_entry_with_a_malformed_or_unknown_field_is_refused(
    tmp_path: Path, key: str, value: object
) -> None:
    with pytest.raises(SourcesError, match=key.removesuffix("_note")):
        read_sources(write_table(tmp_path, {key: value}))


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourcesError, match="same name"):
        read_sources(write_table(tmp_path, {"name": "vae"}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": {}}', '{"files": [1]}'])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sources.json"
    path.write_text(text)

    with pytest.raises(SourcesError):
        read_sources(path)
