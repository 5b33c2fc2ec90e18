"""Addresses, credentials, and the probe of a local folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from weft.data.errors import OutputError
from weft.data.probe import probe_store
from weft.data.storage import (
    StorageError,
    absolute,
    delta_options,
    filesystem,
    from_environment,
    fsspec_options,
    local_path,
    one_line,
    scheme_of,
    shown,
)

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIATEST",
    "AWS_SECRET_ACCESS_KEY": "top-secret",
    "AWS_SESSION_TOKEN": "session-token",
    "AWS_ENDPOINT_URL": "http://minio:9000",
    "AWS_DEFAULT_REGION": "eu-central-1",
}


def test_only_variables_about_stores_are_taken_from_the_environment() -> None:
    environ = {**KEYS, "HOME": "/root", "OPENAI_API_KEY": "sk-1", "AZURE_STORAGE_SAS_TOKEN": "x"}
    assert from_environment(environ) == {**KEYS, "AZURE_STORAGE_SAS_TOKEN": "x"}


def test_both_libraries_get_the_same_credentials() -> None:
    delta = delta_options("s3://b/x", KEYS)
    assert {name: delta[name] for name in KEYS} == KEYS
    assert delta["AWS_ALLOW_HTTP"] == "true"
    assert delta["AWS_REGION"] == "eu-central-1"
    options = fsspec_options("s3://b/x", KEYS)
    assert (options["key"], options["secret"]) == ("AKIATEST", "top-secret")
    assert options["token"] == "session-token"
    assert options["endpoint_url"] == "http://minio:9000"
    assert options["client_kwargs"] == {"region_name": "eu-central-1"}
    https = {**KEYS, "AWS_ENDPOINT_URL": "https://minio"}
    assert "AWS_ALLOW_HTTP" not in delta_options("s3://b/x", https)


def test_local_files_need_no_credentials() -> None:
    assert delta_options("/data/x", KEYS) == {}
    assert fsspec_options("/data/x", KEYS) == {}


def test_local_addresses_do_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("out/x") == str(tmp_path / "out" / "x")
    assert local_path("file:///data/../x") == Path("/x")
    assert absolute("s3://b/x") == "s3://b/x"
    assert local_path("s3://b/x") is None
    assert [scheme_of(uri) for uri in ("a", "S3://b", "file:///a")] == ["file", "s3", "file"]


def test_errors_are_one_bounded_line_without_secrets() -> None:
    text = one_line(ValueError("bad\n  top-secret at https://me:pw@host/x " + "y" * 900), KEYS)
    assert text.startswith("bad *** at https://***@host/x yyy")
    assert len(text) == 400
    assert one_line(KeyError()) == "KeyError"
    coloured = "Kernel error -> no \x1b[31m↳\x1b[0m 404 <?xml?>\n<Message>No bucket</Message><x/>"
    assert one_line(coloured) == "no 404 No bucket"
    assert shown("s3://key:secret@bucket/x") == "s3://***@bucket/x"


def test_an_address_that_nothing_serves_is_refused() -> None:
    with pytest.raises(StorageError, match=r"^nope://x: cannot be reached: .*use a local path"):
        filesystem("nope://x", {})


def test_a_local_folder_passes_the_probe_and_stays_empty(tmp_path: Path) -> None:
    probe_store(str(tmp_path / "new"), {})
    assert list((tmp_path / "new").iterdir()) == []


def test_a_file_system_without_links_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(OutputError, match=r"cannot carry commits .*Operation not permitted"):
        probe_store(str(tmp_path), {})
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_creates_what_is_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", lambda *_: None)
    with pytest.raises(OutputError, match="creates a file that is there already"):
        probe_store(str(tmp_path), {})
