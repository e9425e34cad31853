"""Opcodes that work on the stack alone, each as CPython's unpicklers do it."""

from pickleseal.scanner.machine.faults import Fault
from pickleseal.scanner.machine.stack import Step, Walk
from pickleseal.scanner.machine.uses import (
    add_items,
    add_members,
    call,
    is_function_or_class,
    look_up,
    set_items,
    set_state,
)
from pickleseal.scanner.machine.values import (
    ARRAY,
    BUFFER,
    BYTES,
    CODED_TEXT,
    FROZEN_SET,
    HOLDER,
    LONG_TEXT,
    MADE,
    Dict,
    Dtype,
    Global,
    List,
    Set,
    Wrapper,
    is_data,
    is_unhashable,
    tuple_of,
)

# -- new values


def _push(value: object) -> Step:
    def push(walk: Walk) -> None:
        walk.stack.append(value)

    return push


def _empty_dict(walk: Walk) -> None:
    walk.stack.append(Dict())


def _tuple_1(walk: Walk) -> None:
    stack = walk.stack
    if len(stack) <= walk.marks[-1]:
        walk.underflow()
    stack[-1] = tuple_of(stack[-1:]) if type(stack[-1]) is tuple else (stack[-1],)


def _tuple_2(walk: Walk) -> None:
    stack = walk.stack
    if len(stack) - 1 <= walk.marks[-1]:
        walk.underflow()
    second, first = stack.pop(), stack[-1]
    deep = type(first) is tuple or type(second) is tuple
    stack[-1] = tuple_of([first, second]) if deep else (first, second)


def _tuple_3(walk: Walk) -> None:
    stack = walk.stack
    if len(stack) - 2 <= walk.marks[-1]:
        walk.underflow()
    third, second, first = stack.pop(), stack.pop(), stack[-1]
    deep = type(first) is tuple or type(second) is tuple or type(third) is tuple
    stack[-1] = tuple_of([first, second, third]) if deep else (first, second, third)


def _tuple(walk: Walk) -> None:
    walk.stack.append(tuple_of(walk.pop_mark()))


def _empty_list(walk: Walk) -> None:
    walk.stack.append(List())


def _empty_set(walk: Walk) -> None:
    walk.stack.append(Set())


def _list(walk: Walk) -> None:
    items = walk.pop_mark()
    made = List(len(items))
    walk.record.hold(made, items)
    walk.stack.append(made)


def _dict(walk: Walk) -> None:
    items = walk.pop_mark()
    made = Dict()
    set_items(walk.record, made, items)
    walk.stack.append(made)


def _frozen_set(walk: Walk) -> None:
    items = walk.pop_mark()
    if any(map(is_unhashable, items)):
        raise Fault("it makes a set of unhashable values")
    walk.record.hash(items)
    walk.stack.append(FROZEN_SET if walk.record.are_data(items) else HOLDER)


# -- adding items


def _setitem(walk: Walk) -> None:
    walk.need(3)
    value, key = walk.stack.pop(), walk.stack.pop()
    set_items(walk.record, walk.stack[-1], (key, value))


def _setitems(walk: Walk) -> None:
    items = walk.pop_mark()
    walk.need(1)
    set_items(walk.record, walk.stack[-1], items)


def _append(walk: Walk) -> None:
    walk.need(2)
    items = (walk.stack.pop(),)
    target = walk.stack[-1]
    if type(target) is List:
        target.size += 1
        walk.record.hold(target, items)
    else:
        add_items(walk.record, target, items)


def _appends(walk: Walk) -> None:
    items = walk.pop_mark()
    walk.need(1)
    target = walk.stack[-1]
    if type(target) is List:
        target.size += len(items)
        walk.record.hold(target, items)
    elif items:
        add_items(walk.record, target, items)


def _add_members(walk: Walk) -> None:
    items = walk.pop_mark()
    walk.need(1)
    if items:
        add_members(walk.record, walk.stack[-1], items)


# -- the stack itself


def _pop(walk: Walk) -> None:
    if walk.marks[-1] == len(walk.stack) and len(walk.marks) > 1:
        walk.marks.pop()
    else:
        walk.pop()


def _pop_mark(walk: Walk) -> None:
    walk.pop_mark()


def _dup(walk: Walk) -> None:
    walk.need(1)
    walk.stack.append(walk.stack[-1])


# -- globals and their uses


def _stack_global(walk: Walk) -> None:
    walk.need(2)
    name, module = walk.stack.pop(), walk.stack.pop()
    walk.stack.append(look_up(walk.record, module, name, walk.protocol))


def _reduce(walk: Walk) -> None:
    stack = walk.stack
    if len(stack) - 1 <= walk.marks[-1]:
        walk.underflow()
    args = stack.pop()
    stack[-1] = call(walk.record, stack[-1], args)


def build(walk: Walk) -> None:
    """Set the state of the value below it."""
    stack = walk.stack
    if len(stack) - 1 <= walk.marks[-1]:
        walk.underflow()
    state = stack.pop()
    set_state(walk.record, stack[-1], state)


def _newobj(walk: Walk) -> None:
    walk.need(2)
    args, function = walk.stack.pop(), walk.stack.pop()
    _check_class(function)
    if type(function) is Global and args == ():
        function.instantiated = True
    walk.stack.append(call(walk.record, function, args, MADE))


def _check_class(value: object) -> None:
    """Raise Fault for a value that cannot be instantiated: its class has no __new__."""
    if type(value) in (Dtype, Wrapper) or value is ARRAY:
        raise Fault("it creates an instance of a value that is not a class")


def _newobj_ex(walk: Walk) -> None:
    walk.need(3)
    named, args, function = walk.stack.pop(), walk.stack.pop(), walk.stack.pop()
    _check_class(function)
    # The pure-Python unpickler takes any sequence.
    args = (*args, named) if type(args) is tuple else (args, named)
    walk.stack.append(call(walk.record, function, args, MADE))


def _obj(walk: Walk) -> None:
    items = walk.pop_mark()
    if not items:
        walk.underflow()
    walk.stack.append(call(walk.record, items[0], tuple_of(items[1:])))


def _next_buffer(walk: Walk) -> None:
    walk.record.give()
    walk.stack.append(BUFFER)


def _binpersid(walk: Walk) -> None:
    identity = walk.pop()
    walk.record.give()
    walk.stack.append(walk.record.hand_out(identity))


def _readonly_buffer(walk: Walk) -> None:
    walk.need(1)
    value = walk.stack[-1]
    if value in _BUFFERS or (type(value) is str and not walk.record.bare):
        return  # a text of Python 2 is bytes where the reader's encoding is "bytes"
    if is_data(value) or is_function_or_class(value):
        raise Fault("it uses data as a buffer")


_BUFFERS = (BYTES, BUFFER, CODED_TEXT, LONG_TEXT)


WORKERS: dict[str, Step] = {
    "N": _push(None), "\x88": _push(True), "\x89": _push(False), ")": _push(()),
    "]": _empty_list, "\x8f": _empty_set, "}": _empty_dict, "\x97": _next_buffer,
    "\x98": _readonly_buffer, "l": _list, "\x91": _frozen_set, "t": _tuple,
    "\x85": _tuple_1, "\x86": _tuple_2, "\x87": _tuple_3, "d": _dict,
    "s": _setitem, "u": _setitems, "a": _append, "e": _appends, "\x90": _add_members,
    "0": _pop, "1": _pop_mark, "2": _dup, "\x93": _stack_global, "R": _reduce, "b": build,
    "\x81": _newobj, "\x92": _newobj_ex, "o": _obj, "Q": _binpersid,
}  # fmt: skip
"""Opcodes that work on the stack alone, and leave the cursor where it is."""
