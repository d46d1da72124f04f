"""`make bench`: run the rows, print a table, write JSON.

    python -m tests.bench [PATTERN]… [--json FILE] [--quick] [--list] [--in-process] [--strict]

Each row runs in a process of its own, so that its memory and its event loop are its own. A row that fails is shown
as such and does not end the others. Exit code: 1 when a row failed, or, with --strict, when one is over its budget.
"""

import argparse
import asyncio
import fnmatch
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.harness import Figure, Options, Row, all_rows, run

Result = Figure | str  # the figure, or why there is none


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; see the module text for the exit codes."""
    options = _parse(arguments)
    rows = [row for row in all_rows() if _wanted(row, options.patterns)]
    if not rows:
        print(
            f"make bench: no row fits {' '.join(options.patterns) or 'anything: there are none'}",
            file=sys.stderr,
        )
        return 2
    if options.list:
        for row in rows:
            print(f"{row.name:<32} {row.what}")
        return 0
    if options.child:
        figure = asyncio.run(run(rows[0], Options(quick=options.quick)))
        options.child.write_text(json.dumps(asdict(figure)), encoding="utf-8")
        return 0
    results = {row: _measure(row, options) for row in rows}
    _print(results)
    if options.json:
        options.json.write_text(
            json.dumps(_document(results, options.quick), indent=2) + "\n", encoding="utf-8"
        )
    failed = any(isinstance(result, str) for result in results.values())
    over = any(
        isinstance(result, Figure) and row.verdict(result) == "over" for row, result in results.items()
    )
    return 1 if failed or (options.strict and over) else 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure against the budgets")
    parser.add_argument(
        "patterns", nargs="*", help="row names or patterns, such as 'core.*'; all without one"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as well")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that the rows work, not how fast"
    )
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--in-process", action="store_true", help="for a debugger or a profiler")
    parser.add_argument("--strict", action="store_true", help="a figure over its budget is a failure")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _wanted(row: Row, patterns: list[str]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(row.name, pattern) for pattern in patterns)


def _measure(row: Row, options: argparse.Namespace) -> Result:
    print(f"running {row.name} …", file=sys.stderr)
    if options.in_process:
        try:
            return asyncio.run(run(row, Options(quick=options.quick)))
        except Exception as error:  # whatever a row raises is its result; the others go on
            return f"{type(error).__name__}: {error}"
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        answer = Path(scratch) / "figure.json"
        command = [sys.executable, "-m", "tests.bench", row.name, "--child", str(answer)]
        if options.quick:
            command.append("--quick")
        try:
            done = subprocess.run(command, timeout=row.timeout, stdin=subprocess.DEVNULL, check=False)
        except subprocess.TimeoutExpired:
            return f"not done after {row.timeout:g} s"
        if done.returncode or not answer.is_file():
            return f"exit code {done.returncode}; its output is above"
        return Figure(**json.loads(answer.read_text(encoding="utf-8")))


def _print(results: dict[Row, Result]) -> None:
    table = Table(title="Ferryman bench", title_justify="left")
    for heading in ("row", "what"):
        table.add_column(heading, overflow="fold")
    for heading in ("figure", "budget", "reference", "ratio", ""):
        table.add_column(heading, justify="right", overflow="fold")
    for row, result in results.items():
        if isinstance(result, str):
            table.add_row(row.name, row.what, "failed", _budget(row), result, "", "failed")
            continue
        reference = f"{_number(result.reference)} {result.reference_name}".strip() if result.reference else ""
        ratio = f"{result.ratio:.2f}" if result.ratio is not None else ""
        figure = f"{_number(result.value)} {row.unit}"
        table.add_row(row.name, row.what, figure, _budget(row), reference, ratio, row.verdict(result))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _budget(row: Row) -> str:
    sign = "≥" if row.higher_is_better else "≤"
    parts = [f"{sign} {_number(row.budget)}"] if row.budget is not None else []
    if row.ratio_budget is not None:
        parts.append(f"{sign} {row.ratio_budget:g} × reference")
    return ", ".join(parts)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _document(results: dict[Row, Result], quick: bool) -> dict[str, object]:
    rows = []
    for row, result in results.items():
        entry: dict[str, object] = {"name": row.name, "what": row.what, "unit": row.unit}
        entry |= {"budget": row.budget, "ratio_budget": row.ratio_budget}
        if isinstance(result, str):
            entry["failed"] = result
        else:
            entry |= asdict(result) | {"ratio": result.ratio, "verdict": row.verdict(result)}
        rows.append(entry)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    return {"machine": machine, "quick": quick, "rows": rows}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
