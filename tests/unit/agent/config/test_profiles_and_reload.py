"""Sets of defaults, what a reload may change, and where each value came from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ferryman_agent.config import load, parse, places, reloadable_difference
from ferryman_agent.config.profiles import PROFILES
from ferryman_agent.config.schema import Config, Profile
from ferryman_agent.config.walk import leaves, value_of
from ferryman_agent.errors import ConfigError

HOME = {"FERRYMAN_AGENT_HOME": "/srv/agent"}


def config_of(text: str, profile: str | None = None) -> Config:
    return parse(text.encode(), "f", HOME, profile=profile).config


class TestProfiles:
    def test_a_profile_changes_exactly_its_defaults(self) -> None:
        plain = config_of("")
        for profile, defaults in PROFILES.items():
            found = config_of(f"profile: {profile}\n")
            for key, _ in leaves():
                expected = profile if key == ("profile",) else defaults.get(key, value_of(plain, key))
                assert value_of(found, key) == expected, key
                if key in defaults:
                    assert value_of(plain, key) != expected, f"{key} is the default already"

    @pytest.mark.req("V2-233", "V2-234")
    def test_compat_does_what_the_original_does_by_default(self) -> None:
        found = config_of("profile: compat\n")
        assert found.hooks.pass_agent_env
        assert not found.hooks.strip_loader_variables
        assert not found.private_directories
        assert not found.log.private

    @pytest.mark.req("V2-106")
    def test_strict_refuses_every_link(self) -> None:
        assert config_of("profile: strict\n").bundles.reject_links
        assert not config_of("").bundles.reject_links

    def test_what_the_file_says_wins_over_the_profile_and_the_option_over_the_file_s_profile(self) -> None:
        text = "profile: compat\nhooks: {pass_agent_env: false}\n"
        assert not config_of(text).hooks.pass_agent_env
        assert not config_of(text).hooks.strip_loader_variables
        strict = parse(text.encode(), "f", HOME, profile="strict")
        assert strict.config.profile is Profile.STRICT
        assert strict.config.hooks.strip_loader_variables
        assert strict.origins[("bundles", "reject_links")] == "profile strict"
        assert strict.origins[("profile",)] == "--profile"

    def test_an_unknown_profile_is_a_mistake(self) -> None:
        for text, profile, place in (
            ("profile: lax\n", None, "f:1: profile"),
            ("", "lax", "--profile: profile"),
        ):
            with pytest.raises(ConfigError, match=place):
                config_of(text, profile)


class TestReload:
    @pytest.mark.req("AG-067")
    def test_the_settings_that_the_text_names_are_reloaded(self) -> None:
        old = config_of("")
        new = config_of(
            "verbose: true\nlog_aws_wire: true\nmax_revisions: 3\nproxy_uri: http://p:1\nroot_dir: /other\n"
            "hooks: {cwd: archive}\n"
        )
        found = reloadable_difference(old, new)
        assert set(found.reloaded) == {
            "log.verbose", "log.downloads_wire", "bundles.max_revisions", "proxy.coordinator", "proxy.downloads",
        }  # fmt: skip
        assert set(found.needs_restart) == {"root_dir", "hooks.cwd"}
        assert found.config.log.verbose
        assert found.config.bundles.max_revisions == 3
        assert found.config.proxy == new.proxy
        assert found.config.root_dir == old.root_dir
        assert found.config.hooks == old.hooks

    @pytest.mark.req("AG-067")
    def test_nothing_changed_is_no_difference(self) -> None:
        found = reloadable_difference(config_of("verbose: true\n"), config_of("log: {verbose: true}\n"))
        assert (found.reloaded, found.needs_restart) == ((), ())
        assert found.config == config_of("verbose: true\n")


class TestFile:
    @pytest.mark.req("AG-056", "AG-002")
    def test_the_order_in_which_files_are_looked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours, prefix, original = (tmp_path / name for name in ("a.yml", "b.yml", "c.yml"))
        monkeypatch.setattr(places, "SYSTEM_FILES", (ours, prefix))
        monkeypatch.setattr(places, "ORIGINALS_FILE", original)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert places.default_path({}) == ours
        original.write_text("")
        assert places.default_path({}) == original
        prefix.write_text("")
        assert places.default_path({}) == prefix
        ours.mkdir()
        assert places.default_path({}) == prefix
        ours.rmdir()
        ours.write_text("")
        assert places.default_path({}) == ours

    @pytest.mark.req("AG-056")
    def test_the_system_s_files(self) -> None:
        assert [str(path) for path in places.SYSTEM_FILES] == [
            "/etc/ferryman-agent/conf/ferrymanagent.yml",
            "/opt/ferryman-agent/conf/ferrymanagent.yml",
        ]

    @pytest.mark.req("V2-343")
    def test_who_can_write_or_read_the_file_is_warned_about(self, tmp_path: Path) -> None:
        path = tmp_path / "f.yml"
        path.write_text("proxy_uri: http://u:geheim@p:1\n")
        for mode, warned in ((0o600, []), (0o644, ["chmod 600"]), (0o666, ["chmod go-w", "chmod 600"])):
            path.chmod(mode)
            warnings = load(path, HOME).warnings
            assert len(warnings) == len(warned), warnings
            for warning, part in zip(warnings, warned, strict=True):
                assert f"{part} {path}" in warning
                assert "geheim" not in warning
        path.write_text("verbose: true\n")
        path.chmod(0o644)
        assert load(path, HOME).warnings == ()

    @pytest.mark.req("V2-343")
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_file_of_another_user_is_warned_about(self, tmp_path: Path) -> None:
        path = tmp_path / "f.yml"
        path.write_text("")
        os.chown(path, 12345, 0)
        (warning,) = load(path, HOME).warnings
        assert "belongs to user 12345" in warning

    @pytest.mark.req("AG-K07", "CP-080")
    def test_where_the_identity_file_is_looked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if sys.platform != "win32":
            place = "/etc/codedeploy-agent/conf/codedeploy.onpremises.yml"
            assert Path(place) == places.ORIGINALS_IDENTITY
        ours, original = tmp_path / "ferryman.onpremises.yml", tmp_path / "original.yml"
        monkeypatch.setattr(places, "SYSTEM_FILES", (tmp_path / "a.yml", tmp_path / "b.yml"))
        monkeypatch.setattr(places, "ORIGINALS_FILE", tmp_path / "c.yml")
        monkeypatch.setattr(places, "ORIGINALS_IDENTITY", original)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert places.default_on_premises({}) == str(original)
        ours.write_text("")
        assert places.default_on_premises({}) == str(ours)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert (
            places.default_on_premises({"XDG_CONFIG_HOME": "/x"})
            == "/x/ferryman-agent/ferryman.onpremises.yml"
        )
