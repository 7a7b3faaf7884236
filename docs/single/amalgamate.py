#!/usr/bin/env python3
"""Writes plait-single.hpp: plait/policy.hpp and all it includes in one file.

    docs/single/amalgamate.py           writes docs/single/plait-single.hpp
    docs/single/amalgamate.py --check   compares it with what would be written

Each header appears once, behind those it includes. Standard headers, the only others, move to the
top, once each.
"""

import argparse
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = HERE.parent.parent / "include"
OUTPUT = HERE / "plait-single.hpp"
ROOT = "plait/policy.hpp"

# Each header puts other people's macros aside; Compiler Explorer has none.
FRAME = ("plait/core/prologue.hpp", "plait/core/epilogue.hpp")

HEAD = """\
// plait {version}: policies, configurations and counts in one file.
// Generated from the headers by docs/single/amalgamate.py.
// SPDX-License-Identifier: Apache-2.0
//
// In place of <plait/policy.hpp>, not beside it; for Compiler Explorer and for a file to copy.
#pragma once
"""


def version():
    """MAJOR.MINOR.PATCH as plait/version.hpp defines them."""
    text = (INCLUDE / "plait/version.hpp").read_text(encoding="utf-8")
    return ".".join(
        re.search(rf"PLAIT_VERSION_{part} (\d+)", text)[1] for part in ("MAJOR", "MINOR", "PATCH")
    )


def inline(header, seen, standard, out):
    """Appends a header to `out`, its includes before it; collects standard headers."""
    if header in seen or header in FRAME:
        return
    seen.add(header)
    kept, depth = [], 0
    for number, line in enumerate((INCLUDE / header).read_text(encoding="utf-8").splitlines(), 1):
        depth += bool(re.match(r"#\s*if", line)) - bool(re.match(r"#\s*endif", line))
        include = re.match(r"#\s*include\s*([<\"])([^>\"]+)[>\"]", line)
        if include and depth:
            sys.exit(
                f"{header}:{number}: an include depends on a condition, "
                f"which one file cannot keep: {line}"
            )
        if include and include[2].startswith("plait/"):
            inline(include[2], seen, standard, out)
        elif include and include[1] == "<" and re.fullmatch(r"[a-z_0-9]+", include[2]):
            standard.add(include[2])
        elif include:
            sys.exit(f"{header}:{number}: neither plait's nor the standard library's: {line}")
        elif not re.match(r"#\s*pragma\s+once", line):
            kept.append(line)
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    # What is left of a header that only includes others is its comment.
    if any(line and not line.startswith("//") for line in text.splitlines()):
        out.append(f"// ==== {header}\n{text}\n")


def amalgamation():
    """The whole file as text."""
    standard, out = set(), []
    inline(ROOT, set(), standard, out)
    includes = "".join(f"#include <{name}>\n" for name in sorted(standard))
    return "\n".join([HEAD.format(version=version()), includes, *out])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; status 1 if the file differs"
    )
    text = amalgamation()
    if not parser.parse_args().check:
        OUTPUT.write_text(text, encoding="utf-8")
    elif not OUTPUT.exists() or OUTPUT.read_text(encoding="utf-8") != text:
        sys.exit(f"{OUTPUT.name} is not what the headers make: run docs/single/amalgamate.py")


if __name__ == "__main__":
    main()
