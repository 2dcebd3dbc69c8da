"""What mutmut would do: run in a prepared folder, it prints every mutant as JSON, {name: [path, line, before, after]}.

It runs in a process of its own, since mutmut reads its configuration once, from where it stands.
"""

# mypy: disable-error-code="import-not-found, misc"
# What it imports stands in requirements.txt beside it, and is installed for `make mutants` alone.

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import libcst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import get_ignored_lines
from mutmut.mutation.trampoline_templates import mangle_function_name
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import get_mutant_name

Mutant = tuple[str, int, str, str]


def mutants(path: Path) -> Iterator[tuple[str, Mutant]]:
    """Every mutant of one file, under the name that mutmut gives it."""
    code = path.read_text()
    wrapper = MetadataWrapper(libcst.parse_module(code))
    visitor = MutationVisitor(mutation_operators, get_ignored_lines(str(path), code, wrapper))
    module = wrapper.visit(visitor)
    lines = wrapper.resolve(PositionProvider)
    names = dict(_functions(wrapper.module))
    numbers: Counter[str] = Counter()
    for each in visitor.mutations:
        function = names.get(each.contained_by_top_level_function)
        if function is not None:
            numbers[function] += 1
            name = get_mutant_name(path, f"{function}__mutmut_{numbers[function]}")
            before, after = (module.code_for_node(node) for node in (each.original_node, each.mutated_node))
            yield name, (str(path), lines[each.original_node].start.line, before, after)


def _functions(module: libcst.Module) -> Iterator[tuple[libcst.CSTNode | None, str]]:
    for statement in module.body:
        if isinstance(statement, libcst.FunctionDef):
            yield statement, mangle_function_name(name=statement.name.value, class_name=None)
        if isinstance(statement, libcst.ClassDef):
            for inner in statement.body.body:
                if isinstance(inner, libcst.FunctionDef):
                    own = statement.name.value
                    yield inner, mangle_function_name(name=inner.name.value, class_name=own)


if __name__ == "__main__":
    found = {name: each for path in sorted(walk_mutatable_files()) for name, each in mutants(path)}
    sys.stdout.write(json.dumps(found))
