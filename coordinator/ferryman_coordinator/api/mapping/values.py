"""What several services share: revisions, tags, diagnostics, facts, pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ferryman.v1 import agents_pb2, inventory_pb2, types_pb2
from ferryman_coordinator.api.mapping import words
from ferryman_coordinator.core.inventory import Facts
from ferryman_coordinator.core.model import (
    AutoRollback,
    BundleLocation,
    BundleType,
    Diagnostics,
    GitHubLocation,
    LifecycleErrorCode,
    MinimumHealthyHosts,
    ResourceUsage,
    RevisionLocation,
    S3Location,
    UrlLocation,
    ZonalConfig,
)
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.store.cursors import PageRequest

_LOG_TAIL = 4096
_TEXT = 16 * 1024


def page_from(page: types_pb2.Page) -> PageRequest:
    return PageRequest(size=page.size, token=page.token)


def tags_to(tags: Iterable[Tag]) -> list[types_pb2.Tag]:
    return [types_pb2.Tag(key=tag.key, value=tag.value) for tag in tags]


def tags_from(tags: Iterable[types_pb2.Tag]) -> tuple[Tag, ...]:
    return tuple(Tag(tag.key, tag.value) for tag in tags)


def bundle_to(bundle: BundleLocation) -> types_pb2.BundleLocation:
    return types_pb2.BundleLocation(
        sha256=bundle.sha256,
        size_bytes=bundle.size_bytes,
        bundle_type=words.bundle_types.wire(bundle.bundle_type),
    )


def location_to(location: RevisionLocation) -> types_pb2.RevisionLocation:
    if isinstance(location, BundleLocation):
        return types_pb2.RevisionLocation(bundle=bundle_to(location))
    bundle_type = words.bundle_types.wire(location.bundle_type)
    match location:
        case UrlLocation():
            url = types_pb2.UrlLocation(url=location.url, bundle_type=bundle_type, sha256=location.sha256)
            return types_pb2.RevisionLocation(url=url)
        case S3Location():
            s3 = types_pb2.S3Location(
                bucket=location.bucket,
                key=location.object_key,
                version=location.version,
                e_tag=location.e_tag,
                bundle_type=bundle_type,
                sha256=location.sha256,
            )
            return types_pb2.RevisionLocation(s3=s3)
        case GitHubLocation():
            github = types_pb2.GitHubLocation(
                repository=location.repository,
                commit_id=location.commit_id,
                bundle_type=bundle_type,
                token_name=location.token_name,
            )
            return types_pb2.RevisionLocation(github=github)


def location_from(location: types_pb2.RevisionLocation) -> RevisionLocation | None:
    """None when no source is set: whether that is a mistake, the operation decides. Raises Invalid."""
    match location.WhichOneof("source"):
        case "bundle":
            return BundleLocation(
                sha256=location.bundle.sha256,
                size_bytes=location.bundle.size_bytes,
                bundle_type=words.bundle_types.word(location.bundle.bundle_type),
            )
        case "url":
            return UrlLocation(
                url=location.url.url,
                bundle_type=words.bundle_types.word(location.url.bundle_type),
                sha256=location.url.sha256,
            )
        case "s3":
            s3 = location.s3
            return S3Location(
                bucket=s3.bucket,
                object_key=s3.key,
                version=s3.version,
                e_tag=s3.e_tag,
                bundle_type=words.bundle_types.word(s3.bundle_type),
                sha256=s3.sha256,
            )
        case "github":
            return GitHubLocation(
                repository=location.github.repository,
                commit_id=location.github.commit_id,
                bundle_type=words.bundle_types.word_or(location.github.bundle_type, BundleType.TAR),
                token_name=location.github.token_name,
            )
        case _:
            return None


def minimum_to(minimum: MinimumHealthyHosts) -> inventory_pb2.MinimumHealthyHosts:
    return inventory_pb2.MinimumHealthyHosts(type=words.healthy_hosts.wire(minimum.type), value=minimum.value)


def minimum_from(minimum: inventory_pb2.MinimumHealthyHosts) -> MinimumHealthyHosts:
    """Raises Invalid."""
    return MinimumHealthyHosts(type=words.healthy_hosts.word(minimum.type), value=minimum.value)


def zonal_to(zonal: ZonalConfig) -> inventory_pb2.ZonalConfig:
    return inventory_pb2.ZonalConfig(
        first_zone_monitor_duration_seconds=zonal.first_zone_monitor_seconds,
        monitor_duration_seconds=zonal.monitor_seconds,
        minimum_healthy_hosts_per_zone=minimum_to(zonal.minimum_per_zone),
    )


def zonal_from(zonal: inventory_pb2.ZonalConfig) -> ZonalConfig:
    """Raises Invalid."""
    has_first = zonal.HasField("first_zone_monitor_duration_seconds")
    made = ZonalConfig(
        first_zone_monitor_seconds=zonal.first_zone_monitor_duration_seconds if has_first else None,
        monitor_seconds=zonal.monitor_duration_seconds
        if zonal.HasField("monitor_duration_seconds")
        else None,
    )
    if zonal.HasField("minimum_healthy_hosts_per_zone"):
        return replace(made, minimum_per_zone=minimum_from(zonal.minimum_healthy_hosts_per_zone))
    return made


def rollback_to(settings: AutoRollback) -> inventory_pb2.AutoRollback:
    events = [words.rollback_events.wire(event) for event in sorted(settings.events)]
    return inventory_pb2.AutoRollback(enabled=settings.enabled, events=events)


def rollback_from(settings: inventory_pb2.AutoRollback) -> AutoRollback:
    """Raises Invalid."""
    return AutoRollback(enabled=settings.enabled, events=words.rollback_events.words(settings.events))


def diagnostics_to(diagnostics: Diagnostics) -> types_pb2.Diagnostics:
    return types_pb2.Diagnostics(
        error_code=words.error_codes.wire(diagnostics.error_code),
        script_name=diagnostics.script_name,
        message=diagnostics.message,
        log_tail=diagnostics.log_tail,
        detail_code=diagnostics.detail_code,
        exit_status=diagnostics.exit_status,
        signal=diagnostics.signal,
        duration_ms=diagnostics.duration_ms,
        host_log_path=diagnostics.host_log_path,
        usage=None if diagnostics.usage is None else _usage_to(diagnostics.usage),
        dropped_lines=diagnostics.dropped_lines,
        script_index=diagnostics.script_index,
        revision_deployment_id=diagnostics.revision_deployment_id,
    )


def diagnostics_from(diagnostics: types_pb2.Diagnostics) -> Diagnostics:
    """From an agent; texts are cut to what is kept of them (CP-257), so that none of them can fill the database."""
    return Diagnostics(
        error_code=words.error_codes.word_or(diagnostics.error_code, LifecycleErrorCode.UNKNOWN_ERROR),
        script_name=diagnostics.script_name[:_TEXT],
        message=diagnostics.message[:_TEXT],
        log_tail=_last_bytes(diagnostics.log_tail, _LOG_TAIL),
        detail_code=diagnostics.detail_code[:_TEXT],
        exit_status=diagnostics.exit_status if diagnostics.HasField("exit_status") else None,
        signal=diagnostics.signal if diagnostics.HasField("signal") else None,
        duration_ms=diagnostics.duration_ms,
        host_log_path=diagnostics.host_log_path[:_TEXT],
        usage=_usage_from(diagnostics.usage) if diagnostics.HasField("usage") else None,
        dropped_lines=diagnostics.dropped_lines,
        script_index=diagnostics.script_index if diagnostics.HasField("script_index") else None,
        revision_deployment_id=diagnostics.revision_deployment_id[:_TEXT],
    )


def _usage_to(usage: ResourceUsage) -> types_pb2.ResourceUsage:
    return types_pb2.ResourceUsage(
        peak_memory_bytes=usage.peak_memory_bytes,
        cpu_ms=usage.cpu_ms,
        read_bytes=usage.read_bytes,
        written_bytes=usage.written_bytes,
        out_of_memory_kills=usage.out_of_memory_kills,
    )


def _usage_from(usage: types_pb2.ResourceUsage) -> ResourceUsage:
    return ResourceUsage(
        peak_memory_bytes=usage.peak_memory_bytes if usage.HasField("peak_memory_bytes") else None,
        cpu_ms=usage.cpu_ms if usage.HasField("cpu_ms") else None,
        read_bytes=usage.read_bytes if usage.HasField("read_bytes") else None,
        written_bytes=usage.written_bytes if usage.HasField("written_bytes") else None,
        out_of_memory_kills=usage.out_of_memory_kills if usage.HasField("out_of_memory_kills") else None,
    )


def facts_to(facts: Facts) -> agents_pb2.Facts:
    return agents_pb2.Facts(
        host_name=facts.host_name,
        os=facts.os,
        os_version=facts.os_version,
        kernel=facts.kernel,
        architecture=facts.architecture,
        agent_version=facts.agent_version,
        addresses=facts.addresses,
        boot_id=facts.boot_id,
        cpu_count=facts.cpu_count,
        memory_bytes=facts.memory_bytes,
        disk_free_bytes=facts.disk_free_bytes,
        disk_total_bytes=facts.disk_total_bytes,
        clock_skew_ms=facts.clock_skew_ms,
    )


def facts_from(facts: agents_pb2.Facts) -> Facts:
    """Raises Invalid for what is far larger than any host's."""
    if facts.ByteSize() > _TEXT:
        raise Invalid(
            "InvalidFacts", f"the facts about the host have {facts.ByteSize()} bytes, more than {_TEXT}"
        )
    return Facts(
        host_name=facts.host_name,
        os=facts.os,
        os_version=facts.os_version,
        kernel=facts.kernel,
        architecture=facts.architecture,
        agent_version=facts.agent_version,
        addresses=tuple(facts.addresses),
        boot_id=facts.boot_id,
        cpu_count=facts.cpu_count,
        memory_bytes=facts.memory_bytes,
        disk_free_bytes=facts.disk_free_bytes,
        disk_total_bytes=facts.disk_total_bytes,
        clock_skew_ms=facts.clock_skew_ms,
    )


def _last_bytes(text: str, limit: int) -> str:
    encoded = text.encode("utf-8", "replace")
    return encoded[-limit:].decode("utf-8", "ignore") if len(encoded) > limit else text
