"""Machine instructions are counted as a reader of the assembly would count them."""

import pytest

from nimble.bench import dispatch
from nimble.bench.dispatch import Count, count, count_in
from nimble.engine.threaded.slots import ON_STACK, SITE, WINDOW
from nimble.engine.threaded.subroutines import name_of
from nimble.isa import BY_MNEMONIC

X86 = pytest.mark.skipif(not count(), reason="only the assembly of x86-64 is read")

DISPATCH = """
	movq	64(%rsi), %rax          # the next subroutine
	addq	$64, %rsi
	jmpq	*%rax
"""
# mnemonic, row among those of that mnemonic, form, body, name and count by hand
BODIES = [
    ("add", 1, SITE, "\tmovl\t12(%rsi), %r8d\n\tmovl\t8(%rsi), %eax\n\tmovq\t(%rdi,%r8), %r8\n\taddq\t%r8, (%rdi,%rax)"
     + DISPATCH, "add reg", Count(work=1, operands=3, safety=0, dispatch=3)),
    ("neg", 0, SITE, "\tmovl\t8(%rsi), %eax\n\tnegq\t(%rdi,%rax)" + DISPATCH, "neg",
     Count(work=1, operands=1, safety=0, dispatch=3)),
    # A shift by %cl saves the meter's cost: work, not metering.
    ("lsh", 0, SITE, "\tmovq\t%rcx, %r9\n\tmovl\t8(%rsi), %eax\n\tmovzbl\t16(%rsi), %ecx\n\tshlq\t%cl, (%rdi,%rax)\n"
     "\tmovq\t%r9, %rcx" + DISPATCH, "lsh imm", Count(work=3, operands=2, safety=0, dispatch=3)),
    # Checked: the way to the slow subroutine is not the frequent one.
    ("ldxw", 0, SITE, """
	movl	12(%rsi), %eax
	movq	(%rdi,%rax), %rax
	addq	24(%rsi), %rax
	movq	%rax, %r8
	subq	32(%rsi), %r8
	cmpq	40(%rsi), %r8
	jae	.LBB1_1
	movq	48(%rsi), %r8
	movl	(%rax,%r8), %eax
	movl	8(%rsi), %r8d
	movq	%rax, (%rdi,%r8)""" + DISPATCH + ".LBB1_1:\n\tjmp\tslow_81@PLT\n", "ldxw",
     Count(work=3, operands=5, safety=3, dispatch=3)),
    ("ldxw", 0, WINDOW, """
	movl	12(%rsi), %r8d
	movq	48(%rsi), %r9
	movl	8(%rsi), %eax
	movq	(%rdi,%r8), %r8
	addq	24(%rsi), %r8
	movl	(%r9,%r8), %r8d
	movq	%r8, (%rdi,%rax)""" + DISPATCH, "ldxw in a window", Count(work=2, operands=5, safety=0, dispatch=3)),
    ("ldxw", 0, ON_STACK, "\tmovl\t8(%rsi), %eax" + DISPATCH, "ldxw on the stack",
     Count(work=0, operands=1, safety=0, dispatch=3)),
    # Both ways of a branch are frequent: the longer one counts, with the jump to the common end.
    ("jeq", 0, SITE, """
	movl	8(%rsi), %eax
	movq	(%rdi,%rax), %rax
	cmpq	16(%rsi), %rax
	jne	.LBB2_3
	movq	%rdx, %r8
	movq	24(%rsi), %rax
	subq	32(%rsi), %r8
	js	.LBB2_7
	addq	40(%rsi), %rcx
	jmp	.LBB2_5
.LBB2_3:
	movq	%rdx, %r8
	subq	48(%rsi), %r8
	leaq	64(%rsi), %rax
	js	.LBB2_7
	addq	56(%rsi), %rcx
.LBB2_5:
	movq	(%rax), %r9
	movq	%rax, %rsi
	movq	%r8, %rdx
	jmpq	*%r9
.LBB2_7:
	movq	%rax, %rsi
	jmp	short
""", "jeq imm", Count(work=1, operands=4, safety=5, dispatch=4)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("mnemonic", "index", "form", "body", "name", "expected"), BODIES, ids=[one[4] for one in BODIES]
)
def test_counts_are_those_made_by_hand(mnemonic, index, form, body, name, expected):
    label = name_of((BY_MNEMONIC[mnemonic][index],), (form,))
    assembly = f"\t.text\n{label}:\n\t.cfi_startproc\n{body}.Lfunc_end0:\n\t.size\t{label}, .Lfunc_end0-{label}\n"
    assert count_in(assembly) == {name: expected}


def test_what_only_returns_or_leaves_is_not_counted():
    label = name_of((BY_MNEMONIC["exit"][0],), (SITE,))
    assert count_in(f"{label}:\n\tmovq\t%rdx, 88(%rdi)\n\tretq\n.Lfunc_end0:\n") == {}


@X86
def test_the_present_subroutines_dispatch_in_three_instructions():
    counts = count()
    assert dispatch.dispatch(counts) == 3
    assert counts["add reg"] == Count(work=1, operands=3, safety=0, dispatch=3)
    assert counts["ldxdw"].safety == 3
    assert counts["ldxdw in a window"].safety == 0


@X86
def test_all_operations_are_counted_but_calls_of_services():
    counts = count()
    kinds = ("", " imm", " reg")
    assert [one for one in BY_MNEMONIC if not any(one + kind in counts for kind in kinds)] == ["call"]
    assert all(one.dispatch >= 3 and one.total < 50 for one in counts.values())


def test_without_counts_there_is_no_figure():
    with pytest.raises(ValueError, match=r"^dispatch: nothing was counted; only the assembly of x86-64 is read; take"):
        dispatch.dispatch({})


def test_other_machines_are_not_counted(monkeypatch):
    monkeypatch.setattr(dispatch.llvm, "get_process_triple", lambda: "aarch64-unknown-linux-gnu")
    assert count.__wrapped__() == {}
