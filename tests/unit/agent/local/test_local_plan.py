"""Options and a look at the place make a plan, or every mistake at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferryman_agent.core.messages import BundleType, DeploymentId, FileExistsBehavior, RevisionSource
from ferryman_agent.errors import IdentityError
from ferryman_agent.local.location import locate
from ferryman_agent.local.look import look
from ferryman_agent.local.plan import Draft, draft, judge, local_revision, segment
from ferryman_agent.local.remote import NoCredentials, revision_of
from ferryman_agent.local.wish import Wish, read_arguments

APPSPEC = "version: 0.0\nos: linux\nhooks:\n  Mine:\n    - location: a.sh\n"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "very secret"}


def _draft(*arguments: str, cwd: str = "/cwd", **environment: str) -> Draft:
    return draft(read_arguments(arguments, program="ferryman-local"), cwd=cwd, environment=environment)


def _judged(path: Path, *arguments: str) -> tuple[str, ...]:
    found = _draft("-l", str(path), *arguments)
    assert found.location is not None
    return judge(look(found.location.place, found.appspec, found.possible_events), found.location)


def _app(folder: Path, text: str = APPSPEC, name: str = "appspec.yml") -> Path:
    folder.mkdir()
    (folder / name).write_text(text)
    return folder


@pytest.mark.req(
    *(f"AG-O0{number}" for number in range(1, 10)), "PF-331", "V2-375", "AG-499", "AG-500", "AG-508"
)
def test_every_option_in_both_spellings() -> None:
    defaults = read_arguments([], program="x")
    assert defaults == Wish()
    assert (defaults.group, defaults.group_name) == ("default-local-deployment-group", "LocalFleet")
    long = (
        "--bundle-location=/l --type=zip --file-exists-behavior=RETAIN --deployment-group=g "
        "--deployment-group-name=n --application-name=a --events=E --agent-configuration-file=/c "
        "--appspec-filename=f.yml"
    )
    short = "-l /l -t zip -b RETAIN -g g -d n -a a -e E -c /c -A f.yml"
    wish = read_arguments(long.split(), program="x")
    assert wish == read_arguments(short.split(), program="x")
    found = draft(wish, cwd="/", environment={})
    assert found.mistakes == ()
    revision = RevisionSource(url="file:///l", bundle_type=BundleType.ZIP)
    made = segment(
        wish, found, deployment_id=DeploymentId("d-X-local"), application="/l", revision=revision
    ).deployment
    assert made.deployment_group_id == "g"
    assert made.deployment_group_name == "n"
    assert made.application_name == "a"
    assert made.app_spec_file_name == "f.yml"
    assert made.file_exists_behavior is FileExistsBehavior.RETAIN
    assert (made.deployment_creator, made.deployment_type) == ("user", "IN_PLACE")
    # The guide's example with --application-folder is of a version that nobody has.
    with pytest.raises(SystemExit) as caught:
        read_arguments(["--application-folder", "x"], program="x")
    assert caught.value.code == 2


@pytest.mark.req("AG-O06", "AG-499")
def test_the_application_is_called_like_the_location_unless_it_has_a_name() -> None:
    found = _draft()
    revision = RevisionSource(url="file:///cwd", bundle_type=BundleType.TAR)
    made = segment(
        Wish(), found, deployment_id=DeploymentId("d-X-local"), application="/cwd", revision=revision
    )
    assert made.deployment.application_name == "/cwd"
    assert made.deployment.deployment_group_id == "default-local-deployment-group"
    assert made.deployment.deployment_group_name == "LocalFleet"


@pytest.mark.req("AG-509", "V2-370")
@pytest.mark.parametrize(
    "arguments",
    [
        ["--deployment-group", "--events", "ApplicationStop"],
        ["-g"],
        ["--bundle-loc", "x"],
        ["surplus"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read_arguments(arguments, program="ferryman-local")
    assert caught.value.code == 2


@pytest.mark.req("AG-O10", "AG-O11")
@pytest.mark.parametrize("option", ["-h", "--help", "-v", "--version"])
def test_help_and_version(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read_arguments([option], program="ferryman-local")
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: ferryman-local" if "h" in option else "ferryman-local 0.")


@pytest.mark.req("AG-488", "AG-T84")
def test_a_type_that_is_none_is_told_the_four() -> None:
    (mistake,) = _draft("--type", "rar").mistakes
    assert mistake == "--type: 'rar' is none of tgz, tar, zip, directory"


@pytest.mark.req("AG-O03", "V2-375")
def test_file_exists_behavior() -> None:
    assert _draft("-b", "overwrite").behavior is FileExistsBehavior.OVERWRITE
    assert _draft().behavior is FileExistsBehavior.DISALLOW
    (mistake,) = _draft("-b", "BANANA").mistakes
    assert mistake == "--file-exists-behavior: 'BANANA' is none of DISALLOW, OVERWRITE, RETAIN"


@pytest.mark.req("AG-326")
def test_files_of_other_groups_are_taken_over_only_when_it_is_said() -> None:
    revision = RevisionSource(url="file:///l", bundle_type=BundleType.ZIP)

    def adopts(*arguments: str) -> bool:
        wish = read_arguments(arguments, program="x")
        ident = DeploymentId("d-X-local")
        return segment(
            wish, _draft(), deployment_id=ident, application="/l", revision=revision
        ).deployment.adopt

    assert adopts("--adopt")
    assert not adopts()


@pytest.mark.req("AG-O04")
@pytest.mark.parametrize("group", ["../x", "a/b", "", "..", "deployment-instructions", "a b", "x" * 161])
def test_groups_that_are_no_directory_name_are_refused(group: str) -> None:
    (mistake,) = _draft(f"--deployment-group={group}").mistakes
    assert mistake.startswith("--deployment-group: ")


def test_all_mistakes_come_together() -> None:
    found = _draft(
        *(
            "-l",
            "http://x/y.zip",
            "-t",
            "rar",
            "-b",
            "x",
            "-g",
            "../g",
            "-e",
            "A,,A",
            "-A",
            "../a",
            "-d",
            "a\nb",
        )
    )
    assert len(found.mistakes) == 8


def test_no_install_takes_no_bundle() -> None:
    found = _draft("--no-install", "-e", "ApplicationStop", "-l", "/x", "-t", "zip")
    assert len(found.mistakes) == 2
    assert all("--no-install contradict" in mistake for mistake in found.mistakes)


@pytest.mark.req("AG-491", "AG-T84", "AG-489", "TS-80", "PF-332")
def test_path_and_type_must_fit(tmp_path: Path) -> None:
    app, archive = _app(tmp_path / "app", APPSPEC.replace("Mine", "AfterInstall")), tmp_path / "a.zip"
    archive.write_bytes(b"PK")
    odd = tmp_path / "bundle"
    odd.write_bytes(b"PK")
    assert _judged(tmp_path / "none") == (f"--bundle-location: there is no {tmp_path / 'none'}",)
    assert _judged(archive / "below") == (f"--bundle-location: there is no {archive / 'below'}",)
    assert "is a file, not a directory" in _judged(archive, "-t", "directory")[0]
    assert "is a directory, not a zip archive" in _judged(app, "-t", "zip")[0]
    assert "add --type" in _judged(odd)[0]
    assert (
        _judged(odd, "-t", "tgz") == _judged(archive) == _judged(app) == _judged(app, "-t", "directory") == ()
    )
    # A type without a location means the current directory.
    found = _draft("--type", "zip", cwd=str(app))
    assert found.location is not None
    assert judge(look(str(app), found.appspec, ()), found.location)
    fifo = tmp_path / "fifo.tar"
    os.mkfifo(fifo)
    assert "neither a file nor a directory" in _judged(fifo)[0]


@pytest.mark.req("AG-489")
def test_the_type_of_a_local_archive_comes_from_its_name(tmp_path: Path) -> None:
    for name, expected in (
        ("a.zip", BundleType.ZIP),
        ("a b%.tar.gz", BundleType.TGZ),
        ("a.tar", BundleType.TAR),
    ):
        path = tmp_path / name
        path.write_bytes(b"x")
        found = look(str(path), "appspec.yml", ())
        revision = local_revision(found, locate(str(path), None, cwd="/"))
        assert revision.bundle_type is expected
        assert revision.url == path.as_uri()


@pytest.mark.req("AG-492", "AG-T84", "AG-O09")
def test_a_directory_has_its_appspec_file_in_its_root(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (mistake,) = _judged(tmp_path / "empty", "-A", "mine.yml")
    tried = ", ".join(str(tmp_path / "empty" / name) for name in ("mine.yml", "appspec.yaml", "appspec.yml"))
    assert mistake == f"there is no AppSpec file in {tmp_path / 'empty'}: tried {tried}"
    like = _app(tmp_path / "like", name="AppSpec.YML")
    assert "AppSpec.YML (which has another name)" in _judged(like)[0]
    text = APPSPEC.replace("Mine", "AfterInstall")
    assert _judged(_app(tmp_path / "second", text, "appspec.yaml")) == ()
    assert _judged(_app(tmp_path / "own", text, "mine.yml"), "-A", "mine.yml") == ()


@pytest.mark.req("AG-487", "AG-T85", "AG-V53", "AG-F09", "V2-138", "V2-171", "V2-372", "AG-X47")
def test_custom_events_are_in_the_file_and_in_the_list_or_in_neither(tmp_path: Path) -> None:
    mine = _app(tmp_path / "mine")
    plain = _app(tmp_path / "plain", APPSPEC.replace("Mine", "AfterInstall"))
    assert _judged(mine, "-e", "Mine") == ()
    (unlisted,) = _judged(mine)
    assert "there is no lifecycle event 'Mine'" in unlisted
    (missing,) = _judged(plain, "-e", "Mine")
    assert "the deployment has an event 'Mine', but the AppSpec file has no scripts for it" in missing
    # Built-in events may be in one of the two only.
    assert _judged(plain, "-e", "ApplicationStop") == ()


def test_all_mistakes_of_an_appspec_file_are_named_with_their_lines(tmp_path: Path) -> None:
    broken = _app(tmp_path / "broken", "version: 1.0\nos: windows\nhooks:\n  Nine:\n    - location: a\n")
    found = _judged(broken)
    assert len(found) == 3
    assert all(str(broken / "appspec.yml") in mistake for mistake in found)


@pytest.mark.req("AG-504", "AG-501")
def test_objects_in_s3_need_credentials_from_environment_or_identity_file(tmp_path: Path) -> None:
    place = locate("s3://bucket/a.zip?versionId=7", None, cwd="/")
    with pytest.raises(NoCredentials, match=r"s3://bucket/a\.zip.*Set AWS_ACCESS_KEY_ID"):
        revision_of(place, {})
    found, headers = revision_of(place, {**KEYS, "AWS_SESSION_TOKEN": "t/oken", "AWS_REGION": "eu-west-1"})
    assert found.url.startswith("https://bucket.s3.eu-west-1.amazonaws.com/a.zip?")
    assert "X-Amz-Security-Token=t%2Foken" in found.url
    assert "versionId=7" in found.url
    assert "very secret" not in found.url
    assert headers == ()
    store = {**KEYS, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000/"}
    assert revision_of(place, store)[0].url.startswith("http://127.0.0.1:9000/bucket/a.zip?")

    identity = tmp_path / "codedeploy.onpremises.yml"
    arn = "arn:aws:iam::123456789012:user/CodeDeploy/me"
    identity.write_text(
        f"iam_user_arn: {arn}\naws_access_key_id: AKFILE\naws_secret_access_key: hush\nregion: ap-south-1\n"
    )
    identity.chmod(0o600)
    found, _ = revision_of(place, {}, on_premises=identity)
    assert found.url.startswith("https://bucket.s3.ap-south-1.amazonaws.com/")
    assert "AKFILE" in found.url
    # What is said in the environment counts more.
    assert "AKIDEXAMPLE" in revision_of(place, KEYS, on_premises=identity)[0].url
    keys = tmp_path / "credentials"
    keys.write_text("[default]\naws_access_key_id=AKS\naws_secret_access_key=x\naws_session_token=tok\n")
    keys.chmod(0o600)
    session = "arn:aws:sts::123456789012:assumed-role/r/s"
    identity.write_text(f"iam_session_arn: {session}\naws_credentials_file: {keys}\nregion: eu-west-2\n")
    found, _ = revision_of(place, {}, on_premises=identity)
    assert "AKS" in found.url
    assert "X-Amz-Security-Token=tok" in found.url
    identity.write_text("iam_user_arn: x\n")
    with pytest.raises(IdentityError):
        revision_of(place, {}, on_premises=identity)


@pytest.mark.req("V2-373", "AG-238", "AG-230", "PF-334")
def test_the_github_token_comes_by_environment_and_is_shown_nowhere() -> None:
    place = locate("https://github.com/o/r", None, cwd="/")
    assert revision_of(place, {})[1] == ()
    found, headers = revision_of(place, {"GITHUB_TOKEN": "ghp_second", "FERRYMAN_GITHUB_TOKEN": "ghp_first"})
    assert headers == (("Authorization", "token ghp_first"),)
    assert revision_of(place, {"GITHUB_TOKEN": "ghp_second"})[1] == (("Authorization", "token ghp_second"),)
    made = segment(
        Wish(),
        _draft(),
        deployment_id=DeploymentId("d-X-local"),
        application="a",
        revision=found,
        headers=headers,
    )
    assert "ghp_first" not in repr(made)
    # Never for others: an object store would learn it.
    assert revision_of(locate("s3://bucket/k.zip", None, cwd="/"), {**KEYS, "GITHUB_TOKEN": "x"})[1] == ()
