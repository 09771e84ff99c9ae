"""Read damaged files of every kind, in processes of their own: ``python -m fuzz --help``.

Faults are a signal, a hang, too much memory, an error that is not a `SubregionError`, and, reported apart,
anything that is printed or warned. The first file of each kind of fault is kept, with the command that reads
it again.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import sys
import threading
import time
from pathlib import Path

from fuzz import seeds
from fuzz.cases import Case
from fuzz.runner import FAULTS, Account, Worker, cases, smallest

OUTPUT = Path("fuzz-output")
#: What makes a run fail; the rest is reported.
GRAVE = ("signal", "hang", "memory", "foreign")


def run(
    wanted: list[Case], made: dict[str, dict[str, Path]], output: Path, jobs: int, *, quiet: bool = False
) -> Account:
    """Read files.

    Parameters
    ----------
    wanted : list of Case
        Which.
    made : dict
        The seeds, from `seeds.make`.
    output : pathlib.Path
        Where findings are kept.
    jobs : int
        How many processes read.
    quiet : bool
        Whether to say nothing meanwhile.

    Returns
    -------
    Account
    """
    account = Account()
    todo: queue.SimpleQueue[Case] = queue.SimpleQueue()
    for case in wanted:
        todo.put(case)
    output.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    def serve() -> None:
        worker = Worker(output, made)
        try:
            while True:
                case = todo.get_nowait()
                _one(worker, case, account, output)
                done = account.files.total()
                if not quiet and done % 500 == 0:
                    print(f"{done} of {len(wanted)} in {time.monotonic() - started:.0f} s", flush=True)
        except queue.Empty:
            return
        finally:
            worker.close()

    threads = [threading.Thread(target=serve) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return account


def _one(worker: Worker, case: Case, account: Account, output: Path) -> None:
    answer = worker.run(case)
    with account.lock:
        account.files[case.kind] += 1
        account.pixels[case.kind] += answer["answers"] > 2
        account.resident = max(account.resident, answer["resident"])
        account.slowest = max(account.slowest, answer["seconds"])
    for kind, detail in answer["found"]:
        finding = account.find(kind, detail, case, answer["seed"])
        if finding is not None:
            keep = output / "findings" / f"{kind}-{case.name}"
            keep.mkdir(parents=True, exist_ok=True)
            smallest(worker, finding, keep)


def table(account: Account) -> str:
    """Tell the counts."""
    lines = [f"{'kind':<18}{'files':>8}{'readable':>10}"]
    lines += [f"{kind:<18}{count:>8}{account.pixels[kind]:>10}" for kind, count in account.files.items()]
    lines.append(f"{'all':<18}{account.files.total():>8}{account.pixels.total():>10}")
    lines.append(f"at most {account.resident >> 20} MB resident, {account.slowest:.1f} s for a file")
    counts = {kind: account.count(kind) for kind in FAULTS}
    lines.append(", ".join(f"{kind} {count}" for kind, count in counts.items()))
    return "\n".join(lines)


def main() -> int:
    """Run from the command line.

    Returns
    -------
    int
        1 if there was any fault, but for noise and warnings.
    """
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="files (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="leave out so many, to resume")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--only", action="append", metavar="KIND", help="kinds of which this is a part")
    parser.add_argument("--number", type=int, action="append", help="only these cases of each kind")
    parser.add_argument("--steps", help="only these damages, such as 0,2")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default %(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="for findings (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the account there")
    parser.add_argument("--list", action="store_true", help="list the kinds and their seeds and end")
    options = parser.parse_args()
    known = seeds.kinds()
    exact = [name for name in known if name in (options.only or ())]
    names = exact or [name for name in known if any(word in name for word in options.only or [""])]
    if options.list:
        for name in names:
            print(f"{name}: {', '.join(known[name].make)}")
        return 0
    seed = random.SystemRandom().randrange(1 << 30) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    made = seeds.make(options.output / "seeds", names)
    names = [name for name in names if made[name]]  # of the others nothing can be written here
    if options.number:
        steps = tuple(map(int, options.steps.split(","))) if options.steps else None
        wanted = [Case(name, number, seed, steps) for name in names for number in options.number]
    else:
        wanted = list(cases(names, options.count, seed, options.first))
    account = run(wanted, made, options.output.absolute(), options.jobs)
    for finding in sorted(account.findings.values(), key=lambda each: FAULTS.index(each.kind)):
        place = options.output / "findings" / f"{finding.kind}-{finding.case.name}"
        print(
            f"\n{finding.kind.upper()}, {finding.count} times, first in {place}:\n  {finding.detail[:1500]}"
        )
    print(f"\nseed {seed}\n{table(account)}", flush=True)
    if options.json:
        document = {
            "seed": seed,
            "files": account.files,
            "readable": account.pixels,
            "resident": account.resident,
            "slowest": account.slowest,
            "counts": {kind: account.count(kind) for kind in FAULTS},
            "findings": [
                {"kind": each.kind, "count": each.count, "case": each.case.name, "detail": each.detail}
                for each in account.findings.values()
            ],
        }
        options.json.write_text(json.dumps(document, indent=1))
    return int(any(account.count(kind) for kind in GRAVE))


if __name__ == "__main__":
    sys.exit(main())
