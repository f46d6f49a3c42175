"""`data.download: true`: what is fetched, how it is checked, and what never is."""

import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import pytest

from pipeline.common import registry
from pipeline.datasets import cifar10, cifar100, eurosat, flowers102, pcam
from pipeline.datasets import oxford_pets as pets
from pipeline.prepare import download
from pipeline.prepare.facts import Facts
from tests.support.dataset_fixtures import WRITERS, open_miniature
from tests.support.dataset_fixtures.base import not_opened as refused

ENTRIES = sorted({case.split()[0] for case in WRITERS})


def entry(name: str) -> ModuleType:
    return registry.load("pipeline.datasets", name, "test")


def allow(download: bool) -> None:
    Path("params.yaml").write_text(f"data: {{root: null, download: {str(download).lower()}}}\n")


class Server:
    """Answers instead of the network, and remembers what was asked for."""

    def __init__(self, files: dict[str, bytes], patch: pytest.MonkeyPatch) -> None:
        self.files, self.asked = files, list[str]()
        patch.setattr(download, "urlopen", self.answer)

    def answer(self, request, timeout):
        assert timeout == 60
        self.asked.append(request.full_url)
        if request.full_url not in self.files:
            raise URLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
        return Response(request.full_url, self.files[request.full_url])


class Response(io.BytesIO):
    def __init__(self, url: str, content: bytes) -> None:
        super().__init__(content)
        self.url, self.headers = url, {"Content-Length": str(len(content))}


def tar_of(data_root: Path, *names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in names:
            tar.add(data_root / name, name)
    return buffer.getvalue()


def with_sums(module: ModuleType, files: dict[str, bytes], patch: pytest.MonkeyPatch) -> Facts:
    """The module's facts with the checksums of `files` instead of the publisher's."""
    sums = {url: hashlib.md5(content).hexdigest() for url, content in files.items()}
    facts = module.FACTS
    archives = tuple(a._replace(md5=sums.get(a.url, a.md5)) for a in facts.archives)
    patch.setitem(facts.__dict__, "archives", archives)
    return facts


def test_with_downloads_allowed_a_set_is_fetched_checked_and_extracted(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(True)
    miniature = WRITERS["cifar10"](tmp_path, monkeypatch)
    url = cifar10.FACTS.archives[0].url
    files = {url: tar_of(tmp_path, "cifar-10-batches-py")}
    with_sums(cifar10, files, monkeypatch)
    server = Server(files, monkeypatch)
    assert [item.label for item in open_miniature(miniature).items] == miniature.labels
    assert server.asked == [url]
    assert [p.name for p in data_root.iterdir()] == ["cifar-10-batches-py"]  # the archive is gone
    open_miniature(miniature)
    assert server.asked == [url]  # what is there is not fetched again


def test_several_files_and_a_folder_of_their_own(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flowers-102: an archive to extract and two files to leave as they are; EuroSAT: a zip."""
    allow(True)
    flowers = WRITERS["flowers102"](tmp_path, monkeypatch)
    land = WRITERS["eurosat"](tmp_path, monkeypatch)
    folder = tmp_path / "flowers-102"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted((tmp_path / "eurosat").rglob("*.jpg")):
            file.write(path, path.relative_to(tmp_path / "eurosat"))
    urls = [archive.url for archive in flowers102.FACTS.archives]
    contents = [tar_of(folder, "jpg")] + [(folder / Path(u).name).read_bytes() for u in urls[1:]]
    files = {**dict(zip(urls, contents, strict=True)), eurosat.URL: packed.getvalue()}
    with_sums(flowers102, files, monkeypatch)
    with_sums(eurosat, files, monkeypatch)
    server = Server(files, monkeypatch)
    assert len(open_miniature(flowers).items) == 4
    assert len(open_miniature(land).items) == 30
    assert server.asked == [*urls, eurosat.URL]
    names = {p.name for p in (data_root / "flowers-102").iterdir()}
    assert names == {"jpg", "imagelabels.mat", "setid.mat"}


def test_a_failing_download_is_one_line_with_the_commands(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no second try without TLS, as torchvision makes."""
    allow(True)
    server = Server({}, monkeypatch)
    message = refused("cifar100")
    assert message.startswith("CIFAR-100: download failed: <urlopen error [SSL: CERTIFICATE_VER")
    assert "curl -fLO https://" in message
    assert server.asked == [cifar100.FACTS.archives[0].url]


def test_another_checksum_than_the_publishers_is_refused_and_removed(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(True)
    Server({cifar100.FACTS.archives[0].url: b"a page that says sorry"}, monkeypatch)
    message = refused("cifar100")
    assert "download failed: cifar-100-python.tar.gz has another checksum than" in message
    assert list(data_root.iterdir()) == []


def test_a_page_in_place_of_a_compressed_file_is_refused_and_removed(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(True)
    urls = [archive.url for archive in download.archives_of(pcam.FACTS, "test")]
    page = b"<!DOCTYPE html><title>Quota exceeded</title>"
    server = Server(dict.fromkeys(urls, page), monkeypatch)
    message = refused("pcam")
    assert f"download failed: {urls[0].rsplit('/', 1)[1]} has another checksum than" in message
    assert urls[0].endswith(".h5.gz")
    assert server.asked == urls[:1]
    assert not [path for path in data_root.rglob("*") if path.is_file()]


def test_an_archive_without_what_is_needed_is_one_line(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(True)
    (tmp_path / "other").write_text("x")
    files = {cifar10.FACTS.archives[0].url: tar_of(tmp_path, "other")}
    with_sums(cifar10, files, monkeypatch)
    Server(files, monkeypatch)
    message = refused("cifar10")
    assert message.startswith("CIFAR-10: downloaded, but CIFAR-10 (test) is missing: no ")


def test_a_redirect_to_a_page_without_tls_is_refused(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(True)
    away = "http://mirror.example/cifar.tar.gz"
    monkeypatch.setattr(download, "urlopen", lambda request, timeout: Response(away, b"x"))
    assert f"leads to {away}, which has no TLS" in refused("cifar10")
    assert list(data_root.iterdir()) == []


@pytest.mark.parametrize("name", ENTRIES)
def test_only_what_has_tls_and_a_checksum_is_ever_fetched(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever is fetched by itself needs nothing done by hand, before or after."""
    facts = entry(name).FACTS
    allow(True)
    server = Server({}, monkeypatch)
    message = refused(name)
    safe = all(a.url.startswith("https://") and a.md5 for a in facts.archives)
    if facts.archives and safe and not facts.manual and not facts.finish:
        assert server.asked == [download.archives_of(facts, facts.split)[0].url]
        assert "download failed" in message
    else:
        assert server.asked == []
        assert "download" not in re.sub("https?://[^ ]*", "", message)
    assert "set data.download" not in message


def test_what_can_be_fetched() -> None:
    fetched = {name for name in ENTRIES if download.is_fetchable(entry(name).FACTS)}
    assert fetched == {"caltech256", "cifar10", "cifar100", "country211", "dtd", "eurosat",
                       "flowers102", "oxford_pets", "pcam"}  # fmt: skip


@pytest.mark.parametrize("written", [None, False])
def test_without_leave_nothing_is_fetched(data_root: Path, monkeypatch, written) -> None:
    """Neither without a params.yaml nor with `data.download: false`."""
    if written is not None:
        allow(written)
    server = Server({}, monkeypatch)
    assert "or set data.download: true" in refused("oxford_pets")
    assert server.asked == []
    assert len(pets.FACTS.archives) == 2
