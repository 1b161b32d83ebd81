# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small faults that are put into a module, one at a time: which there can be, and the module's code with one of them."""

from __future__ import annotations

import ast
import dataclasses
import types
import typing as t

_COMPARED: t.Dict[t.Type[ast.cmpop], t.Type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_CALCULATED: t.Dict[t.Type[ast.operator], t.Type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_Node = t.TypeVar("_Node", bound=ast.AST)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One fault. ``lines``: where tests can notice it."""

    number: int
    lines: t.FrozenSet[int]
    before: str
    after: str

    def __str__(self) -> str:
        return f"{min(self.lines)}: {self.before}  ->  {self.after}"


def mutants(source: str) -> t.List[Mutant]:
    """Every fault that there can be in a module, in a fixed order."""
    mutator = _Mutator(None)
    mutator.visit(ast.parse(source))
    return mutator.found


def code(source: str, number: int, path: str) -> types.CodeType:
    """A module with the fault of that number."""
    tree = _Mutator(number).visit(ast.parse(source))
    return t.cast(types.CodeType, compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True))


class _Mutator(ast.NodeTransformer):
    """Finds all faults, or makes the chosen one. Types, docstrings and what only a type checker reads have none."""

    def __init__(self, chosen: t.Optional[int]) -> None:
        self.found: t.List[Mutant] = []
        self._chosen = chosen
        self._statements: t.List[ast.stmt] = []

    def visit(self, node: ast.AST) -> t.Any:
        if not isinstance(node, ast.stmt):
            return super().visit(node)
        self._statements.append(node)
        try:
            return super().visit(node)
        finally:
            self._statements.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.args.defaults = [self.visit(default) for default in node.args.defaults]
        node.args.kw_defaults = [default and self.visit(default) for default in node.args.kw_defaults]
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.value = node.value and self.visit(node.value)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        return node if ast.unparse(node.test) == "t.TYPE_CHECKING" else self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        swapped = [
            ast.Compare(node.left, [*node.ops[:at], _COMPARED[type(op)](), *node.ops[at + 1 :]], node.comparators)
            for at, op in enumerate(node.ops)
        ]
        return self._one_of(node, swapped)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        return self._one_of(node, [ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return self._one_of(node, [node.operand] if isinstance(node.op, ast.Not) else [])

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        other = _CALCULATED.get(type(node.op))
        return self._one_of(node, [ast.BinOp(node.left, other(), node.right)] if other else [])

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        other = _CALCULATED.get(type(node.op))
        return self._one_of(node, [ast.AugAssign(node.target, other(), node.value)] if other else [])

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, bool):
            return self._one_of(node, [ast.Constant(not node.value)])
        if isinstance(node.value, int):
            return self._one_of(node, [ast.Constant(node.value + 1), ast.Constant(node.value - 1)])
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        is_none = node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)
        return self._one_of(node, [] if is_none else [ast.Return(ast.Constant(None))])

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        self.generic_visit(node)
        return self._one_of(node, [ast.Pass()])

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant):
            return node
        self.generic_visit(node)
        # Without its yield a function would be another thing altogether, which any test notices.
        return self._one_of(node, [] if isinstance(node.value, (ast.Yield, ast.YieldFrom)) else [ast.Pass()])

    def _one_of(self, node: _Node, faults: t.Sequence[ast.AST]) -> ast.AST:
        """``node``, unless one of its faults is the chosen one."""
        result: ast.AST = node
        statement = self._statements[-1]
        for fault in faults:
            if self._chosen is None:
                lines = frozenset([statement.lineno, *range(node.lineno, node.end_lineno + 1)])
                self.found.append(Mutant(len(self.found), lines, _line(node), _line(fault)))
                continue
            if self._chosen == 0:
                result = ast.copy_location(fault, node)
            self._chosen -= 1
        return result


def _line(node: ast.AST) -> str:
    text = " ".join(ast.unparse(ast.fix_missing_locations(node)).split())
    return text if len(text) <= 90 else text[:87] + "..."
