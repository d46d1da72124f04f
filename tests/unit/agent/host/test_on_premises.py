"""The identity file of a machine that no cloud vouches for, and the keys that it may point at."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ferryman_agent.errors import IdentityError
from ferryman_agent.host import file_credentials
from ferryman_agent.host.file_credentials import FileCredentials
from ferryman_agent.host.on_premises import OwnIdentity, SessionIdentity, UserIdentity, load, parse

ARN = "arn:aws:iam::123456789012:user/CodeDeploy/web-1"
SESSION_ARN = "arn:aws:sts::123456789012:assumed-role/CodeDeploy/web-1"
USER = {
    "region": "eu-central-1",
    "iam_user_arn": ARN,
    "aws_access_key_id": "AKIAEXAMPLE",
    "aws_secret_access_key": "geheim/geheim",
}
SESSION = {"iam_session_arn": SESSION_ARN, "aws_credentials_file": "/etc/keys", "region": "us-east-1"}
OWN = {
    "host_name": "web-1",
    "coordinator": "c.corp:7420",
    "ca_file": "/etc/ca.pem",
    "join_token_file": "/etc/t",
}
PAIR = {"cert_file": "/etc/c.pem", "key_file": "/etc/k.pem"}
HERE = Path("/etc/f.yml")


def written(tmp_path: Path, content: dict[str, object] | str, mode: int = 0o600) -> Path:
    path = tmp_path / "codedeploy.onpremises.yml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    path.chmod(mode)
    return path


def refusal(content: object) -> str:
    with pytest.raises(IdentityError) as caught:
        parse(yaml.safe_dump(content).encode(), HERE)
    assert str(HERE) in str(caught.value)
    assert "geheim" not in str(caught.value)
    return str(caught.value)


class TestShapes:
    @pytest.mark.req("AG-075", "AG-079", "V2-340", "CP-081", "CP-082")
    def test_the_original_s_two_shapes(self, tmp_path: Path) -> None:
        found = load(written(tmp_path, dict(USER)))
        assert isinstance(found, UserIdentity)
        assert (found.arn, found.access_key_id, found.region) == (ARN, "AKIAEXAMPLE", "eu-central-1")
        assert found.secret_access_key.reveal() == "geheim/geheim"
        session = load(written(tmp_path, dict(SESSION)))
        assert session == SessionIdentity(
            arn=SESSION_ARN, credentials_file=Path("/etc/keys"), region="us-east-1"
        )

    def test_the_original_s_own_spelling(self, tmp_path: Path) -> None:
        text = f"---\nregion: eu-central-1\n:iam_user_arn: {ARN}\naws_access_key_id: A\naws_secret_access_key: b\n"
        assert isinstance(load(written(tmp_path, text)), UserIdentity)

    @pytest.mark.req("AG-081")
    def test_our_own_shape_both_ways(self) -> None:
        assert parse(yaml.safe_dump(OWN).encode(), HERE) == OwnIdentity(
            host_name="web-1",
            coordinator="c.corp:7420",
            ca_file=Path("/etc/ca.pem"),
            join_token_file=Path("/etc/t"),
        )
        pair = {key: value for key, value in OWN.items() if key != "join_token_file"} | PAIR
        found = parse(yaml.safe_dump(pair).encode(), HERE)
        assert isinstance(found, OwnIdentity)
        assert (found.cert_file, found.key_file) == (Path("/etc/c.pem"), Path("/etc/k.pem"))

    @pytest.mark.req("AG-081")
    def test_a_token_that_stands_there_needs_no_ca_file(self) -> None:
        short = {"host_name": "web-1", "coordinator": "c.corp:7420", "join_token": "ferryman-join-1-geheim"}
        found = parse(yaml.safe_dump(short).encode(), HERE)
        assert isinstance(found, OwnIdentity)
        assert found.join_token is not None
        assert (found.ca_file, found.join_token.reveal()) == (None, "ferryman-join-1-geheim")
        assert "geheim" not in repr(found)
        for more in ({"join_token_file": "/t", "ca_file": "/ca"}, PAIR | {"ca_file": "/ca"}):
            assert "join_token" in refusal(short | more)
        assert "host_name needs coordinator" in refusal({"host_name": "web-1", "join_token": "geheim"})

    @pytest.mark.req("AG-076", "AG-081", "V2-340", "CP-084")
    def test_two_identities_are_an_error(self) -> None:
        for content in (USER | SESSION, USER | OWN, SESSION | OWN):
            assert "both" in refusal(content)
        assert "both join_token_file and cert_file" in refusal(OWN | PAIR)

    @pytest.mark.req("AG-077", "V2-340", "AG-081", "CP-081", "CP-082")
    @pytest.mark.parametrize(
        "shape,key",
        [("iam_user_arn", key) for key in USER if key != "iam_user_arn"]
        + [("iam_session_arn", key) for key in SESSION if key != "iam_session_arn"]
        + [("host_name", key) for key in ("coordinator", "ca_file", "join_token_file")],
    )
    def test_a_missing_companion_is_named_with_the_shape_that_needs_it(self, shape: str, key: str) -> None:
        whole: dict[str, str] = next(each for each in (USER, SESSION, OWN) if shape in each)
        said = refusal({name: value for name, value in whole.items() if name != key})
        assert f"{shape} needs" in said
        assert key in said

    @pytest.mark.req("AG-077", "AG-081")
    def test_all_missing_companions_at_once_and_half_a_pair(self) -> None:
        assert "aws_access_key_id and aws_secret_access_key and region" in refusal({"iam_user_arn": ARN})
        half = {key: value for key, value in OWN.items() if key != "join_token_file"} | {"cert_file": "/c"}
        assert "needs key_file beside it" in refusal(half)
        assert "host_name" in refusal({"join_token_file": "/t"})

    @pytest.mark.parametrize(
        "content",
        [
            {}, {"region": "eu-central-1"}, [], "text", USER | {"iam_user_arn": "me"}, USER | {"region": "Europe"},
            USER | {"aws_access_key_id": 12}, USER | {"aws_secret_access_key": " "}, OWN | {"ca_file": "rel.pem"},
            SESSION | {"aws_credentials_file": ["/x"]}, USER | {"iam_user_arn": f"{ARN}\n"},
        ],
    )  # fmt: skip
    def test_what_is_no_identity_is_refused(self, content: object) -> None:
        if content == USER | {"iam_user_arn": f"{ARN}\n"}:
            assert "must be text" in refusal(content)
        else:
            assert refusal(content)


class TestFile:
    @pytest.mark.req("AG-078")
    def test_text_that_does_not_parse_names_the_file_and_not_its_secrets(self, tmp_path: Path) -> None:
        for text in (
            "aws_secret_access_key: [geheim",
            "a: b: geheim",
            "\tgeheim",
            "!!python/name:os.geheim x",
        ):
            path = written(tmp_path, text)
            with pytest.raises(IdentityError) as caught:
                load(path)
            assert str(path) in str(caught.value)
            assert "geheim" not in str(caught.value)

    @pytest.mark.req("AG-078")
    def test_no_file_is_no_error(self, tmp_path: Path) -> None:
        assert load(tmp_path / "none.yml") is None
        assert load(written(tmp_path, dict(USER)) / "below") is None

    @pytest.mark.req("V2-353")
    def test_a_file_that_is_there_and_cannot_be_read_is_an_error(self, tmp_path: Path) -> None:
        folder = tmp_path / "folder.yml"
        folder.mkdir()
        for read in (load, file_credentials.read):
            with pytest.raises(IdentityError, match="cannot read"):
                read(folder)
        with pytest.raises(IdentityError, match="no such file"):
            file_credentials.read(tmp_path / "none")

    @pytest.mark.req("AG-082", "V2-343")
    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
    def test_a_file_that_is_open_to_others_is_refused_with_the_fix(self, tmp_path: Path, mode: int) -> None:
        path = written(tmp_path, dict(USER), mode)
        for read in (load, file_credentials.read):
            with pytest.raises(IdentityError, match=f"mode {mode:04o}.*chmod 600 {path}"):
                read(path)
        path.chmod(0o400)
        assert load(path) is not None

    @pytest.mark.req("AG-082")
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_file_of_another_user_is_refused(self, tmp_path: Path) -> None:
        path = written(tmp_path, dict(USER))
        os.chown(path, 12345, -1)
        with pytest.raises(IdentityError, match="belongs to user 12345"):
            load(path)
        with pytest.raises(IdentityError, match="belongs to user 12345"):
            load(path, "nobody")
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, -1)
        assert load(path, "nobody") is not None

    @pytest.mark.req("V2-274")
    def test_no_representation_shows_the_secret(self, tmp_path: Path) -> None:
        assert "geheim" not in repr(load(written(tmp_path, dict(USER))))

    @pytest.mark.req("AG-078", "V2-391")
    @given(
        st.binary(max_size=200)
        | st.dictionaries(st.sampled_from([*USER, *OWN, "x"]), st.text()).map(repr).map(str.encode)
    )
    def test_no_bytes_break_it(self, content: bytes) -> None:
        for read in (parse, file_credentials.parse):
            try:
                read(content, HERE)
            except IdentityError as error:
                assert str(HERE) in str(error)  # noqa: PT017 - nothing is wrong where it does not raise


INI = "[default]\naws_access_key_id = AK\naws_secret_access_key = geheim\naws_session_token = geheimer\n"


class TestCredentialsFile:
    @pytest.mark.req("V2-342")
    def test_the_profile_default_counts(self) -> None:
        found = file_credentials.parse(f"[other]\naws_access_key_id=x\n{INI}".encode(), HERE)
        assert found.access_key_id == "AK"
        assert found.secret_access_key.reveal() == "geheim"
        assert found.session_token is not None
        assert found.session_token.reveal() == "geheimer"
        assert "geheim" not in repr(found)

    @pytest.mark.req("V2-342")
    def test_a_blank_token_is_none(self) -> None:
        blank = INI.replace("geheimer", "  ")
        assert file_credentials.parse(blank.encode(), HERE).session_token is None
        without = INI.replace("aws_session_token = geheimer\n", "")
        assert file_credentials.parse(without.encode(), HERE).session_token is None

    @pytest.mark.req("V2-342")
    @pytest.mark.parametrize(
        "text,part",
        [
            ("", "no profile"),
            (INI.replace("default", "geheim"), "no profile"),
            (INI.replace("aws_access_key_id = AK\n", ""), "has no aws_access_key_id"),
            (INI.replace("aws_secret_access_key = geheim\n", ""), "has no aws_secret_access_key"),
            (INI.replace("= AK", "="), "aws_access_key_id of [default] is empty"),
            (INI.replace("= geheim\n", "=  \n"), "aws_secret_access_key of [default] is empty"),
            ("geheim\n", "no INI"),
            ("[default]\ngeheim\n", "no INI"),
        ],
    )
    def test_each_fault_has_its_rule_and_shows_no_secret(self, text: str, part: str) -> None:
        with pytest.raises(IdentityError) as caught:
            file_credentials.parse(text.encode(), HERE)
        assert part in str(caught.value)
        assert "geheim" not in str(caught.value)

    @pytest.mark.req("AG-080", "V2-341", "AG-S22", "AG-C36")
    def test_a_changed_file_counts_at_once(self, tmp_path: Path) -> None:
        path = written(tmp_path, INI)
        now = [0.0]
        credentials = FileCredentials(path, lambda: now[0])
        assert credentials.current().access_key_id == "AK"
        written(tmp_path, INI.replace("AK", "AK-NEW"))
        assert credentials.current().access_key_id == "AK-NEW"

    @pytest.mark.req("AG-080", "V2-341")
    def test_it_is_read_anew_after_25_minutes_and_when_the_keys_were_refused(self, tmp_path: Path) -> None:
        path = written(tmp_path, INI)
        now = [0.0]
        credentials = FileCredentials(path, lambda: now[0])
        first = credentials.current()
        assert credentials.current() is first
        now[0] = 1499.0
        assert credentials.current() is first
        now[0] = 1500.0
        second = credentials.current()
        assert second is not first
        credentials.refused()
        assert credentials.current() is not second

    @pytest.mark.req("V2-341")
    def test_a_failed_renewal_keeps_the_old_keys_until_they_end(self, tmp_path: Path) -> None:
        path = written(tmp_path, INI)
        now = [0.0]
        credentials = FileCredentials(path, lambda: now[0])
        first = credentials.current()
        written(tmp_path, "[default]\n")
        now[0] = 1799.0
        assert credentials.current() is first
        now[0] = 1800.0
        with pytest.raises(IdentityError, match="aws_access_key_id"):
            credentials.current()
