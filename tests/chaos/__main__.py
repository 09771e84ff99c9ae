"""Attack the library, and say what became of it: ``python -m chaos --help``."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chaos.harness import Account
from chaos.suite import ATTACKS, attack, table, told


def main() -> int:
    """Run from the command line.

    Returns
    -------
    int
        1 if there was any fault.
    """
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument(
        "--only", action="append", metavar="WORD", help="attacks whose name has this word in it"
    )
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--short", action="store_true", help="a few trials of each")
    parser.add_argument("--rounds", type=int, default=1, help="how often, with one seed after the other")
    parser.add_argument("--jobs", type=int, default=2, help="attacks at a time (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found there")
    parser.add_argument("--folder", type=Path, help="work there, and keep everything")
    parser.add_argument("--notes", action="store_true", help="also print what is no fault")
    parser.add_argument("--list", action="store_true", help="list the attacks and end")
    options = parser.parse_args()
    names = [name for name in ATTACKS if any(word in name for word in options.only or [""])]
    if options.list:
        for name in names:
            module = sys.modules[ATTACKS[name].__module__]
            print(f"{name}\n    " + "\n    ".join((module.__doc__ or "").strip().splitlines()))
        return 0
    seed = random.SystemRandom().randrange(1 << 30) if options.seed is None else options.seed
    failed = False
    for turn in range(options.rounds):
        failed |= _round(names, seed + turn, options)
    return int(failed)


def _round(names: list[str], seed: int, options: argparse.Namespace) -> bool:
    print(f"seed {seed}", flush=True)
    root = options.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    accounts: dict[str, Account] = {}

    def one(name: str) -> None:
        folder = root / f"{name.replace(' ', '-')}-{seed}"
        folder.mkdir(parents=True)
        account = attack(name, seed, not options.short, folder)
        accounts[name] = account
        print(
            f"{name}: {account.trials} trials, {account.failed} faults, {account.seconds:.0f} s", flush=True
        )
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)

    with ThreadPoolExecutor(max(1, options.jobs)) as threads:
        list(threads.map(one, names))
    if not options.folder:
        shutil.rmtree(root, ignore_errors=True)
    accounts = {name: accounts[name] for name in names}
    for name, account in accounts.items():
        if account.failed:
            print(f"\n{name}:{told(account)}")
        for note, times in account.notes.items() if options.notes else ():
            print(f"\nnote in {name}, {times} times: {note}")
    print(f"\nseed {seed}\n{table(accounts)}", flush=True)
    if options.json:
        document = {"seed": seed, "attacks": {name: account.document for name, account in accounts.items()}}
        options.json.write_text(json.dumps(document, indent=1))
    return any(account.failed for account in accounts.values())


if __name__ == "__main__":
    sys.exit(main())
