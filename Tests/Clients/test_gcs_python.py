"""google-cloud-storage against the Cloud Storage emulator."""

import hashlib
import io
import os
import random
import uuid

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage import transfer_manager
from google.cloud.storage.retry import DEFAULT_RETRY

MIB = 1 << 20
# Two spellings of one letter: two names to Cloud Storage.
NFC, NFD = "\u00e9", "e\u0301"


def content(size, seed=1):
    return random.Random(seed).randbytes(size)


@pytest.fixture
def client(emulator):
    return storage.Client(
        project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": emulator.gcs}
    )


@pytest.fixture
def bucket(client):
    return client.create_bucket(f"python-{uuid.uuid4().hex}")


def test_bucket_life(client, bucket):
    assert client.lookup_bucket("no-such-bucket") is None
    assert bucket.name in [each.name for each in client.list_buckets(prefix="python-")]
    with pytest.raises(exceptions.Conflict):
        client.create_bucket(bucket.name)
    bucket.labels = {"team": "models"}
    bucket.patch()
    assert client.get_bucket(bucket.name).labels == {"team": "models"}
    bucket.blob("a").upload_from_string(b"x")
    with pytest.raises(exceptions.Conflict):
        bucket.delete()
    bucket.delete(force=True)
    assert client.lookup_bucket(bucket.name) is None


@pytest.mark.parametrize("checksum", ["crc32c", "md5"])
@pytest.mark.parametrize("size", [0, 1, 11, 5 * MIB + 3])
def test_small_objects_go_and_come_back_whole(bucket, size, checksum):
    data = content(size)
    blob = bucket.blob("dir a/x+y#z%?é.bin")
    blob.upload_from_string(data, content_type="application/x-test", checksum=checksum)
    again = bucket.get_blob(blob.name)
    assert (again.size, again.content_type) == (size, "application/x-test")
    assert again.download_as_bytes(checksum="crc32c") == data


@pytest.mark.parametrize("size", [8 * MIB + 1, 20 * MIB])
@pytest.mark.parametrize("chunk_size", [None, 256 * 1024 * 5])
def test_large_objects_go_resumably(bucket, tmp_path, size, chunk_size):
    data = content(size)
    path = tmp_path / "large"
    path.write_bytes(data)
    blob = bucket.blob("large", chunk_size=chunk_size)
    blob.upload_from_filename(path, if_generation_match=0, checksum="crc32c")
    assert blob.size == size
    assert hashlib.sha256(bucket.blob("large").download_as_bytes()).digest() == hashlib.sha256(data).digest()


def test_stream_of_unknown_length(bucket):
    data = content(3 * MIB + 17)

    class Stream(io.RawIOBase):
        def __init__(self):
            self.inner = io.BytesIO(data)

        def read(self, count=-1):
            return self.inner.read(count)

        def tell(self):
            return self.inner.tell()

    bucket.blob("stream", chunk_size=MIB).upload_from_file(Stream())
    assert bucket.blob("stream").download_as_bytes() == data


def test_file_object_writes_in_chunks(bucket):
    data = content(2 * MIB + 5)
    with bucket.blob("written").open("wb", chunk_size=512 * 1024) as file:
        for start in range(0, len(data), 100_000):
            file.write(data[start : start + 100_000])
    with bucket.blob("written").open("rb", chunk_size=300_000) as file:
        file.seek(1_000_000)
        assert file.read(10) == data[1_000_000:1_000_010]
        assert file.read() == data[1_000_010:]


def test_ranges(bucket):
    data = content(100_000)
    blob = bucket.blob("ranged")
    blob.upload_from_string(data)
    assert blob.download_as_bytes(start=10, end=19) == data[10:20]
    assert blob.download_as_bytes(start=99_990) == data[99_990:]
    assert blob.download_as_bytes(start=99_990, end=200_000) == data[99_990:]
    assert blob.download_as_bytes(start=-7) == data[-7:]
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        blob.download_as_bytes(start=100_000, end=100_001)


def test_transfer_manager(bucket, tmp_path):
    data = content(40 * MIB)
    source = tmp_path / "source"
    source.write_bytes(data)
    blob = bucket.blob("parts")
    transfer_manager.upload_chunks_concurrently(
        str(source), blob, chunk_size=8 * MIB, max_workers=4, worker_type=transfer_manager.THREAD
    )
    blob.reload()
    assert blob.size == len(data)
    assert blob.md5_hash is None
    target = tmp_path / "target"
    transfer_manager.download_chunks_concurrently(
        blob, str(target), chunk_size=8 * MIB, max_workers=4, worker_type=transfer_manager.THREAD
    )
    assert target.read_bytes() == data


def test_compose(bucket):
    parts = []
    for number in range(3):
        part = bucket.blob(f"part/{number}")
        part.upload_from_string(content(1000 + number, seed=number))
        parts.append(part)
    whole = bucket.blob("whole")
    whole.compose(parts, if_generation_match=0)
    whole.reload()
    assert whole.component_count == 3
    assert whole.md5_hash is None
    assert whole.download_as_bytes(checksum="crc32c") == b"".join(content(1000 + n, seed=n) for n in range(3))
    with pytest.raises(exceptions.PreconditionFailed):
        whole.compose(parts, if_generation_match=0)
    with pytest.raises(exceptions.BadRequest):
        whole.compose(parts * 11)


def test_list_pages_prefixes_and_delimiters(client, bucket):
    names = sorted([f"a/{n:03}" for n in range(7)] + ["a/b/c", "a/b/d", "b", "c/", "c/x", NFC, NFD], key=str.encode)
    for name in names:
        bucket.blob(name).upload_from_string(b"x")
    assert [blob.name for blob in client.list_blobs(bucket, page_size=2)] == names
    listing = client.list_blobs(bucket, delimiter="/", page_size=2)
    assert [blob.name for blob in listing] == ["b", NFD, NFC]
    assert listing.prefixes == {"a/", "c/"}
    listing = client.list_blobs(bucket, prefix="a/", delimiter="/", page_size=3)
    assert [blob.name for blob in listing] == [f"a/{n:03}" for n in range(7)]
    assert listing.prefixes == {"a/b/"}
    listing = client.list_blobs(bucket, delimiter="/", include_trailing_delimiter=True, page_size=1)
    assert [blob.name for blob in listing] == ["b", "c/", NFD, NFC]
    assert listing.prefixes == {"a/", "c/"}
    between = client.list_blobs(bucket, start_offset="a/003", end_offset="a/006")
    assert [blob.name for blob in between] == ["a/003", "a/004", "a/005"]
    assert [blob.name for blob in client.list_blobs(bucket, match_glob="a/00[1-3]")] == ["a/001", "a/002", "a/003"]
    assert [blob.name for blob in client.list_blobs(bucket, match_glob="**/{c,d}")] == ["a/b/c", "a/b/d"]
    named = list(client.list_blobs(bucket, fields="items(name),nextPageToken", prefix="b"))
    assert [(blob.name, blob.size) for blob in named] == [("b", None)]


def test_metadata_patch(bucket):
    blob = bucket.blob("patched")
    blob.metadata = {"keep": "1", "drop": "2"}
    blob.upload_from_string(b"x")
    assert (blob.metageneration, blob.metadata) == (1, {"keep": "1", "drop": "2"})
    generation = blob.generation
    blob.metadata = {"drop": None, "new": "3"}
    blob.cache_control = "no-store"
    blob.patch(if_metageneration_match=1)
    assert blob.metadata == {"keep": "1", "new": "3"}
    assert (blob.generation, blob.metageneration, blob.cache_control) == (generation, 2, "no-store")
    with pytest.raises(exceptions.PreconditionFailed):
        blob.patch(if_metageneration_match=1)


def test_copies(client, bucket):
    source = bucket.blob("source")
    source.metadata = {"a": "1"}
    source.upload_from_string(content(3 * MIB))
    copy = bucket.copy_blob(source, bucket, "copy", if_generation_match=0)
    assert copy.crc32c == source.crc32c
    assert bucket.get_blob("copy").metadata == {"a": "1"}
    target = bucket.blob("rewritten")
    token, done, total = target.rewrite(source, if_generation_match=0)
    while token is not None:
        token, done, total = target.rewrite(source, token=token, if_generation_match=0)
    assert done == total == 3 * MIB
    moved = bucket.move_blob(source, "moved", if_generation_match=0, if_source_generation_match=source.generation)
    assert moved.size == 3 * MIB
    assert bucket.get_blob("source") is None


def test_preconditions(bucket):
    blob = bucket.blob("guarded")
    blob.upload_from_string(b"one", if_generation_match=0)
    first = blob.generation
    for data in (b"two", content(9 * MIB)):
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.blob("guarded").upload_from_string(data, if_generation_match=0)
    bucket.blob("guarded").upload_from_string(b"two", if_generation_match=first)
    with pytest.raises(exceptions.NotFound):
        bucket.blob("guarded", generation=first).download_as_bytes()
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("guarded").download_as_bytes(if_generation_match=first)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("guarded").delete(if_generation_match=first)
    assert bucket.blob("guarded").download_as_bytes() == b"two"


def test_delete(client, bucket):
    blobs = [bucket.blob(f"d/{n}") for n in range(5)]
    for blob in blobs:
        blob.upload_from_string(b"x")
    blobs[0].delete()
    with pytest.raises(exceptions.NotFound):
        blobs[0].delete()
    with client.batch():
        for blob in blobs[1:]:
            blob.delete()
    assert list(client.list_blobs(bucket)) == []


def test_gzip_objects_are_decompressed_for_those_who_do_not_take_gzip(bucket):
    import gzip

    data = b"hello world\n" * 10_000
    blob = bucket.blob("zipped")
    blob.content_encoding = "gzip"
    blob.upload_from_string(gzip.compress(data), content_type="text/plain")
    assert bucket.blob("zipped").download_as_bytes() == data
    assert gzip.decompress(bucket.blob("zipped").download_as_bytes(raw_download=True)) == data


def test_a_restart_keeps_objects_and_open_uploads(start_emulator, tmp_path):
    import requests

    first = start_emulator("--bucket", "kept", "--gcs-port", "0")
    upload = f"{first.gcs}/upload/storage/v1/b/kept/o"
    requests.post(upload, params={"uploadType": "media", "name": "whole"}, data=b"whole").raise_for_status()
    session = requests.post(upload, params={"uploadType": "resumable", "name": "open"}, json={}).headers["Location"]
    data = content(256 * 1024 + 5)
    reply = requests.put(session, data=data[: 256 * 1024], headers={"Content-Range": "bytes 0-262143/*"})
    assert reply.status_code == 308
    first.stop(9)
    second = start_emulator()
    session = session.replace(first.gcs, second.gcs)
    status = requests.put(session, headers={"Content-Range": "bytes */*"})
    assert (status.status_code, status.headers["Range"]) == (308, "bytes=0-262143")
    end = f"bytes 262144-{len(data) - 1}/{len(data)}"
    requests.put(session, data=data[256 * 1024 :], headers={"Content-Range": end}).raise_for_status()
    assert requests.get(f"{second.gcs}/kept/open").content == data
    assert requests.get(f"{second.gcs}/kept/whole").content == b"whole"


def test_injected_failures_are_retried(emulator, bucket):
    import requests

    data = content(300_000)
    blob = bucket.blob("flaky")
    blob.upload_from_string(data)
    for actions in ({"status": 503}, {"truncateAt": 100_000}, {"truncateAt": 1000, "reset": True}):
        rule = {"method": "GET", "path": f"/b/{bucket.name}/o/flaky", "action": actions}
        requests.post(f"{emulator.gcs}/_emulator/faults", json=rule).raise_for_status()
        assert blob.download_as_bytes(retry=DEFAULT_RETRY.with_timeout(60)) == data
