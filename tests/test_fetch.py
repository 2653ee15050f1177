"""Downloads against a server on the loopback interface that behaves as the test says."""

import email.utils
import importlib
import io
import re
import sys
import threading
import time
import types
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa_lib import cli, dataset, downloads, fetch
from hpa_lib.errors import HpaError
from hpa_lib.images import CHANNELS

QUICK = downloads.Politeness(per_second=1000, back_off=0.01, timeout=5)
JPEG = cv2.imencode(".jpg", np.full((8, 8), 7, dtype=np.uint8))[1].tobytes()


class Server(ThreadingHTTPServer):
    """Answers each path with the next of its scripted answers, and the last one ever after."""

    daemon_threads = True

    def __init__(self):
        self.answers, self.asked, self.times, self.agents = {}, Counter(), [], set()
        self.bodies, self.ranges, self.busy, self.most_at_once, self.lock = (
            [],
            [],
            0,
            0,
            threading.Lock(),
        )
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, path = self.server, self.path
        with server.lock:
            server.busy += 1
            server.most_at_once = max(server.most_at_once, server.busy)
            server.times.append(time.monotonic())
            server.agents.add(self.headers["User-Agent"])
            script = server.answers.get(path, [(404, {}, b"")])
            status, headers, body = script[min(server.asked[path], len(script) - 1)]
            server.asked[path] += 1
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked:
            server.ranges.append(int(asked[1]))
            status, body = 206, body[int(asked[1]) :]
        time.sleep(0.01)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with server.lock:
            server.busy -= 1
        self.wfile.write(body)

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        self.server.bodies.append((self.headers.get("Authorization"), self.rfile.read(length)))
        self.do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def serve(server, *sample_ids):
    """Give a server the four images of some samples; returns the paths."""
    paths = []
    for sample_id in sample_ids:
        antibody, _, field = sample_id.partition("_")
        for channel in CHANNELS:
            paths.append(f"/images/{antibody}/{field}_{channel}.jpg")
            server.answers[paths[-1]] = [(200, {"Content-Type": "image/jpeg"}, JPEG)]
    return paths


@pytest.fixture
def atlas(server, tmp_path):
    """Fetches two samples from the server; returns the report."""
    ids = tmp_path / "ids.csv"
    ids.write_text("Id,Target\n11088_89_B5_1,6\n42720_1704_C11_18_cr57d8,0 25\n")

    def fetched(politeness=QUICK, **options):
        return fetch.fetch_atlas(
            tmp_path / "hpav18", ids,
            **{"base": f"{server.address}/images", "politeness": politeness, **options},
        )  # fmt: skip

    fetched.paths = serve(server, "11088_89_B5_1", "42720_1704_C11_18_cr57d8")
    fetched.folder = tmp_path / "hpav18"
    fetched.ids = ids
    return fetched


def leftovers(folder):
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_atlas_images_become_a_data_folder(atlas, server):
    report = atlas()
    assert (report.samples, report.written, report.present) == (2, 8, 0)
    assert report.missing.empty
    opened = dataset.load(atlas.folder)
    assert opened.ids == ("11088_89_B5_1", "42720_1704_C11_18_cr57d8")
    assert opened.label_sets == ((6,), (0, 25))
    assert (opened.read_sample(1) == 7).all()
    assert server.agents == {downloads.USER_AGENT}
    assert not leftovers(atlas.folder)


def test_what_is_there_is_not_asked_for_again(atlas, server):
    atlas()
    asked = sum(server.asked.values())
    report = atlas()
    assert (report.written, report.present) == (0, 8)
    assert sum(server.asked.values()) == asked


def test_a_cut_connection_is_tried_again(atlas, server):
    cut = (200, {"Content-Length": str(len(JPEG))}, JPEG[:20])
    server.answers[atlas.paths[0]].insert(0, cut)
    assert atlas().samples == 2
    assert server.asked[atlas.paths[0]] == 2
    assert (atlas.folder / "train" / "11088_89_B5_1_red.jpg").read_bytes() == JPEG


def test_what_stays_cut_is_missing_until_a_later_call(atlas, server):
    whole = server.answers[atlas.paths[0]]
    server.answers[atlas.paths[0]] = [(200, {"Content-Length": str(len(JPEG))}, JPEG[:20])]
    report = atlas()
    assert report.missing.iloc[0].tolist()[:2] == ["11088_89_B5_1", "red"]
    assert f"broke after 20 of {len(JPEG)} bytes, in 5 attempts" in report.missing["reason"][0]
    assert server.asked[atlas.paths[0]] == 5
    assert dataset.load(atlas.folder).ids == ("42720_1704_C11_18_cr57d8",)
    assert not leftovers(atlas.folder)
    server.answers[atlas.paths[0]] = whole
    report = atlas()
    assert (report.samples, report.written, report.present) == (2, 1, 7)


def test_the_command_lists_what_is_missing_and_exits_with_1(atlas, server, capsys):
    del server.answers[atlas.paths[5]]
    command = ["data", "fetch", "hpav18", str(atlas.folder), "--ids", str(atlas.ids)]
    command += ["--base", f"{server.address}/images", "--per-second", "1000"]
    assert cli.main(command) == 1
    shown = capsys.readouterr().out
    assert "7 files written, 0 there already; 1 whole samples" in shown
    assert "42720_1704_C11_18_cr57d8,green,HTTP 404 Not Found" in shown
    assert server.asked[atlas.paths[5]] == 1
    assert cli.main(["data", "fetch", "hpav18", str(atlas.folder), "--ids", "nowhere.csv"]) == 2


def test_the_command_treats_the_server_as_the_library_does(monkeypatch, tmp_path):
    asked = {}

    def recorded(folder, ids, **options):
        asked.update(options)
        return fetch.AtlasReport(0, 0, 0, pd.DataFrame())

    monkeypatch.setattr(fetch, "fetch_atlas", recorded)
    monkeypatch.setattr(fetch, "ATLAS_IMAGES", "http://elsewhere/images")
    assert cli.main(["data", "fetch", "hpav18", str(tmp_path), "--ids", "ids.csv"]) == 0
    assert asked == {"base": "http://elsewhere/images", "politeness": downloads.Politeness()}


@pytest.mark.parametrize(
    "asked", ["1", email.utils.formatdate(time.time() + 10_000_000, usegmt=True)]
)
def test_a_busy_server_has_its_way(atlas, server, asked):
    server.answers[atlas.paths[0]].insert(0, (429, {"Retry-After": asked}, b""))
    one = downloads.Politeness(connections=1, per_second=1000, patience=60)
    report = atlas(one)
    if asked == "1":
        assert report.samples == 2
        assert server.times[1] - server.times[0] >= 1
    else:  # too long for this call
        assert report.missing["reason"].tolist()[0].startswith("HTTP 429 Too Many Requests, to be")
        assert server.asked[atlas.paths[0]] == 1


def test_all_connections_wait_for_a_busy_server(atlas, server):
    server.answers[atlas.paths[0]].insert(0, (503, {"Retry-After": "1"}, b""))
    atlas(downloads.Politeness(connections=2, per_second=1000))
    pauses = np.diff(np.sort(server.times))
    assert pauses.max() > 0.8
    assert (np.array(server.times) < server.times[0] + 0.8).sum() <= 4


def test_pauses_grow_where_the_server_names_no_time(atlas, server):
    server.answers[atlas.paths[0]][:0] = [(503, {}, b"")] * 2 + [(500, {}, b"")]
    atlas(downloads.Politeness(connections=1, per_second=1000, back_off=0.1))
    pauses = np.diff(server.times)[:3]
    assert (pauses >= [0.1, 0.2, 0.4]).all()


def test_rate_and_connections_are_limited(atlas, server):
    started = time.monotonic()
    atlas(downloads.Politeness(connections=2, per_second=20))
    assert time.monotonic() - started >= 7 / 20
    assert server.most_at_once <= 2


def test_an_error_page_instead_of_an_image_is_refused(atlas, server):
    page = b"<html>Please accept our cookies</html>"
    server.answers[atlas.paths[3]] = [(200, {"Content-Type": "text/html"}, page)]
    report = atlas()
    assert report.missing["reason"].tolist() == [
        f"the answer (text/html, {len(page)} bytes) isn't the file wanted"
    ]
    assert not (atlas.folder / "train" / "11088_89_B5_1_yellow.jpg").exists()
    assert not leftovers(atlas.folder)


def test_a_server_out_of_reach_ends_the_download(atlas):
    with Server() as gone:
        address = gone.address
    with pytest.raises(HpaError, match="can't be reached"):
        atlas(downloads.Politeness(back_off=0.01, attempts=2), base=address)
    assert not (atlas.folder / "train.csv").exists()


def test_another_folder_is_not_overwritten(atlas):
    atlas()
    atlas.ids.write_text("Id,Target\n11088_89_B5_1,6\n")
    with pytest.raises(HpaError, match="holds samples that aren't asked for, such as 42720"):
        atlas()


@pytest.mark.parametrize(("text", "part"), [("abc,6", "'abc' isn't one"), ("../1_2,6", "'../1_2'")])
def test_ids_that_are_none_of_the_atlas_are_refused(atlas, text, part):
    atlas.ids.write_text(f"Id,Target\n{text}\n")
    with pytest.raises(HpaError) as caught:
        atlas()
    assert part in caught.value.problem


def test_only_web_addresses_are_asked(atlas):
    with pytest.raises(HpaError, match="base is 'file:///etc'"):
        atlas(base="file:///etc")


@pytest.mark.parametrize("wrong", [{"connections": 0}, {"attempts": 0}, {"per_second": 0}])
def test_politeness_is_checked(wrong):
    with pytest.raises(HpaError, match=next(iter(wrong))):
        downloads.Politeness(**wrong)


def competition_archive(padding=0):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("sample_submission.csv", bytes(padding))
        archive.writestr("train.csv", "Id,Target\na,0\n")
        for channel in CHANNELS:
            png = cv2.imencode(".png", np.full((8, 8), 3, dtype=np.uint8))[1]
            archive.writestr(f"train/a_{channel}.png", png.tobytes())
    return buffer.getvalue()


class StandInClient:
    """Has the two methods of Kaggle's client that are called."""

    def authenticate(self):
        pass

    def competition_download_files(self, competition, path, quiet):
        raise AssertionError("not expected")


@pytest.fixture
def stand_in(monkeypatch):
    """Puts a client in the place of Kaggle's."""

    def put(authenticate=None, download=None):
        client = StandInClient()
        client.authenticate = authenticate or client.authenticate
        client.competition_download_files = download or client.competition_download_files
        module = types.ModuleType("kaggle.api.kaggle_api_extended")
        module.KaggleApi = lambda: client
        monkeypatch.setitem(sys.modules, "kaggle", types.ModuleType("kaggle"))
        monkeypatch.setitem(sys.modules, "kaggle.api", types.ModuleType("kaggle.api"))
        monkeypatch.setitem(sys.modules, "kaggle.api.kaggle_api_extended", module)

    return put


class RefusedError(OSError):
    def __init__(self, status):
        super().__init__(f"{status} Client Error")
        self.response = types.SimpleNamespace(status_code=status)


def raising(error):
    def call(*arguments, **options):
        raise error

    return call


def test_the_competition_is_unpacked_into_a_data_folder(stand_in, tmp_path, capsys):
    def download(competition, path, quiet):
        assert competition == "human-protein-atlas-image-classification"
        (tmp_path / "hpa" / f"{competition}.zip").write_bytes(competition_archive())

    stand_in(download=download)
    assert cli.main(["data", "fetch", "kaggle", str(tmp_path / "hpa")]) == 0
    assert dataset.load(tmp_path / "hpa").ids == ("a",)
    assert {path.name for path in (tmp_path / "hpa").iterdir()} == {
        "sample_submission.csv", "train.csv", "train", "fetched.json",
    }  # fmt: skip
    stand_in(download=raising(AssertionError("asked again")))
    assert fetch.fetch_kaggle(tmp_path / "hpa") == tmp_path / "hpa"


def test_a_label_table_placed_by_hand_is_no_finished_download(stand_in, tmp_path):
    folder, asked = tmp_path / "hpa", []

    def download(competition, path, quiet):
        asked.append(competition)
        (folder / f"{competition}.zip").write_bytes(competition_archive())

    stand_in(download=download)
    folder.mkdir()
    (folder / "train.csv").write_text("Id,Target\na,0\n")
    for _ in range(2):
        fetch.fetch_kaggle(folder, keep_archive=True)
    assert len(asked) == 1
    assert dataset.load(folder).ids == ("a",)
    (folder / "train.csv").unlink()
    fetch.fetch_kaggle(folder)
    assert len(asked) == 2
    assert dataset.load(folder).ids == ("a",)


def test_a_missing_client_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kaggle", None)
    with pytest.raises(HpaError, match="isn't installed") as caught:
        fetch.fetch_kaggle(tmp_path)
    assert "pip install kaggle" in caught.value.remedy


@pytest.mark.parametrize(
    ("client", "problem", "remedy"),
    [
        ({"authenticate": raising(SystemExit(1))}, "no valid credentials", "KAGGLE_API_TOKEN"),
        ({"authenticate": raising(RefusedError(401))}, "(401)", "KAGGLE_API_TOKEN"),
        ({"download": raising(RefusedError(403))}, "(403)", "Accept the competition's rules"),
        ({"download": raising(RefusedError(404))}, "404 Client Error", "goes on where"),
        ({"download": raising(ValueError("file size"))}, "file size", "goes on where"),
        ({"download": lambda *_, **__: None}, "left no", "by hand"),
    ],
)
def test_what_kaggle_refuses_is_told(stand_in, tmp_path, client, problem, remedy):
    stand_in(**client)
    with pytest.raises(HpaError) as caught:
        fetch.fetch_kaggle(tmp_path / "hpa")
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


DOWNLOAD = "/v1/competitions.CompetitionApiService/DownloadDataFiles"


@pytest.fixture
def kaggle_server(server, monkeypatch, tmp_path):
    """A server that Kaggle's own client takes for Kaggle."""
    environment = pytest.importorskip("kagglesdk.kaggle_env", reason="needs the extra fetch")
    for name in ("USERNAME", "KEY", "API_TOKEN"):
        monkeypatch.delenv(f"KAGGLE_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    endpoints = environment._env_to_endpoint
    monkeypatch.setitem(endpoints, environment.KaggleEnv.PROD, server.address)
    return server


def test_kaggles_own_client_downloads_and_resumes(kaggle_server, monkeypatch, tmp_path):
    monkeypatch.setenv("KAGGLE_USERNAME", "user")
    monkeypatch.setenv("KAGGLE_KEY", "key")
    content = competition_archive(padding=3 * 2**20)
    headers = {"Accept-Ranges": "bytes", "ETag": '"1"', "Content-Type": "application/zip"}
    goal = f"/files/{fetch.COMPETITION}.zip"
    kaggle_server.answers[DOWNLOAD] = [(302, {"Location": goal}, b"")]
    kaggle_server.answers[goal] = [
        (200, {**headers, "Content-Length": str(len(content))}, content[: 2**21 + 100]),
        (200, headers, content),
    ]
    fetch.fetch_kaggle(tmp_path / "hpa")
    assert dataset.load(tmp_path / "hpa").ids == ("a",)
    assert kaggle_server.ranges == [2**21]  # the client keeps whole chunks of 1 MiB
    authorization, body = kaggle_server.bodies[0]
    assert authorization.startswith("Basic ")
    assert fetch.COMPETITION.encode() in body


def test_kaggles_own_client_without_credentials_or_accepted_rules(kaggle_server, tmp_path):
    with pytest.raises(HpaError, match="no valid credentials"):
        fetch.fetch_kaggle(tmp_path / "hpa")
    module = importlib.import_module("kaggle.api.kaggle_api_extended")
    client = module.KaggleApi()
    client.config_values = {"username": "user", "key": "key"}
    kaggle_server.answers[DOWNLOAD] = [(403, {}, b"accept the rules")]
    with pytest.raises(HpaError, match=r"\(403\)"), fetch._kaggle_errors():
        client.competition_download_files(fetch.COMPETITION, path=str(tmp_path))
