"""``python -m fuzz``: what fails is found and made small; each target gets some inputs, and those that failed once."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from itertools import islice
from random import Random

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from fuzz import campaign, guided
from fuzz.__main__ import main
from fuzz.campaign import CORPUS, Report, corpus, inputs
from fuzz.inputs import Draw, slices
from fuzz.minimise import failure_of, minimise
from fuzz.scene import Differs, normalised
from fuzz.targets import NAMES, Target, load
from fuzz.watch import Fault, Flood, Watch, watch
from wsaas.logs import shown_path
from wsaas.net.http1.request_body import RequestBody
from wsaas.websocket import upgrade

#: Inputs of all targets together: enough to see that none of them is broken, few enough for a quick run.
INPUTS = 1000


def bytes_of(draw: Draw) -> bytes:
    """:returns: an input of no particular kind"""
    return draw.noise(60)


def fails_on_ff(data: bytes) -> int:
    """:raises ZeroDivisionError: for some bytes"""
    return 1 // (b"\xff" not in data)


PLANTED = Target("planted", "a fault", 1, bytes_of, fails_on_ff)


class FuzzCase(SynchronousTestCase):
    """What is tried may be logged by Twisted's agent, which is there for comparison."""

    def tearDown(self) -> None:
        self.flushLoggedErrors()

    def run_target(self, name: str, most: int) -> Report:
        """:returns: what came of some inputs"""
        return campaign.run(load(name), 1, most, patience=0.2)


class SceneTests(SynchronousTestCase):
    """What is compared."""

    def test_what_differs_without_a_difference(self) -> None:
        """When an answer was made, and in which order its lines stand, in both versions of HTTP."""
        for version in (b"1.0", b"1.1"):
            head = b"HTTP/" + version + b" 200 OK\r\n"
            one = head + b"Date: Mon, 23 Nov 2026 21:51:04 GMT\r\nA: b\r\nC: d\r\n\r\nbody"
            other = head + b"C: d\r\nA: b\r\nDate: Mon, 23 Nov 2026 21:51:05 GMT\r\n\r\nbody"
            self.assertEqual(normalised(one), normalised(other))
            self.assertNotEqual(normalised(one), normalised(other + b"!"))


class TargetsTests(FuzzCase):
    """All of them."""

    def test_each(self) -> None:
        """Nothing fails, what failed once included; and there are outcomes of more than one kind."""
        shares = sum(share for _, share in NAMES.values())
        for name, (_, share) in NAMES.items():
            failed_once = len(list(corpus(name)))
            report = self.run_target(name, failed_once + max(15, INPUTS * share // shares))
            self.assertEqual(report.failures, [], name)
            self.assertGreater(len(report.outcomes), 3, name)

    def test_shares(self) -> None:
        """They are a million."""
        self.assertEqual(sum(share for _, share in NAMES.values()), 1000)

    def test_the_corpus_is_of_targets(self) -> None:
        """Of none that was renamed."""
        self.assertLessEqual({folder.name for folder in CORPUS.iterdir()}, set(NAMES))

    def test_the_same_for_the_same_seed(self) -> None:
        """And others for another."""
        for name in ("clients", "push", "settings", "values", "api", "frames"):
            made = [[next(source) for _ in range(30)] for source in (inputs(load(name), seed) for seed in (5, 5, 6))]
            self.assertEqual(made[0], made[1])
            self.assertNotEqual(made[0], made[2])


class PlantedTests(FuzzCase):
    """Faults that are there on purpose."""

    def test_found(self) -> None:
        """Once, and made as small as it gets."""
        report = campaign.run(PLANTED, 1, 2000)
        (failing,) = report.failures
        self.assertEqual(failing.data, b"\xff")
        self.assertIsInstance(failing.error, ZeroDivisionError)

    def test_bodies_that_are_put_together_wrongly(self) -> None:
        """Where a segment ends within one."""
        take = RequestBody.take
        self.patch(RequestBody, "take", lambda body, data, at: take(body, data if at else data[::-1], at))
        target = load("push")
        with watch:
            errors = (failure_of(target.run, data) for data in islice(inputs(target, 1), 5000))
            self.assertIsInstance(next(filter(None, errors), None), Differs)

    def test_a_line_too_many(self) -> None:
        """Of the log, for each handshake."""
        told = shown_path

        def tell(target: bytes) -> str:
            Logger(namespace="planted").info("a line that nobody needs")
            return told(target)

        self.patch(upgrade, "shown_path", tell)
        report = self.run_target("clients", 60)
        self.assertIn(Flood, [type(failing.error) for failing in report.failures])


class WatchTests(FuzzCase):
    """What must not be logged."""

    def setUp(self) -> None:
        self.watch = self.enterContext(Watch())
        self.log = Logger()

    def test_some_lines(self) -> None:
        """No more than there may be; each without its time."""
        self.log.info("one")
        self.log.error("two")
        (one, two) = self.watch.check(2, errors=1)
        self.assertEqual((one[:5], two[:6]), ("INFO ", "ERROR "))
        self.log.info("one")
        self.log.error("two")
        self.assertRaises(Flood, self.watch.check, 1, errors=1)

    def test_a_long_line(self) -> None:
        """Whatever is in it."""
        self.log.info("{what}", what="a" * 2000)
        self.assertRaises(Flood, self.watch.check, 1)

    def test_several_lines_for_one(self) -> None:
        """Also if what is told brings them."""
        self.log.info("{what}", what="a\nb")
        self.assertRaises(Flood, self.watch.check, 1)

    def test_faults(self) -> None:
        """Tracebacks, and errors where none may be."""
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            self.log.failure("a fault")
        self.assertRaises(Fault, self.watch.check, 9, errors=9)
        self.log.error("lost")
        self.assertRaises(Fault, self.watch.check, 1)
        self.log.error("lost")
        self.watch.check(1, errors=1)

    def test_what_nobody_can_catch(self) -> None:
        """As in a destructor."""

        class Broken:
            def __del__(self) -> None:
                raise ZeroDivisionError

        Broken()
        self.assertRaises(Fault, self.watch.check, 9)
        self.watch.begin()
        self.watch.check(0)


class PartsTests(SynchronousTestCase):
    """What inputs are made of."""

    def test_slices(self) -> None:
        """However a stream is cut, it is the same stream."""
        for stream in (b"", b"a", b"hello", bytes(700)):
            for seed in range(256):
                pieces = slices(stream, seed)
                self.assertEqual(b"".join(pieces), stream)
                self.assertNotIn(b"", pieces)
        self.assertEqual(slices(b"abc", 1), [b"a", b"b", b"c"])

    def test_damage(self) -> None:
        """Most of it changes something, whatever it meets."""
        draw = Draw(Random(1))
        for data in (b"", b"a", b"hello" * 20):
            changed = [draw.damaged(data) != data for _ in range(200)]
            self.assertGreater(sum(changed), 100)

    def test_minimise(self) -> None:
        """What is left fails in the same way, not in another."""

        def run(data: bytes) -> None:
            if len(data) < 3:  # another failure
                raise ValueError
            if b"x" in data and b"y" in data:
                raise ZeroDivisionError

        self.assertEqual(minimise(run, b"0123456789x0123456789y0123456789"), b"x\0y")
        self.assertEqual(minimise(run, b"0123"), b"0123")


class CommandTests(FuzzCase):
    """``python -m fuzz``."""

    def fuzz(self, *arguments: str) -> tuple[int, str]:
        """:returns: the exit status, and what is printed"""
        with redirect_stdout(StringIO()) as printed, redirect_stderr(printed):
            status = main(arguments)
        return status, printed.getvalue()

    def setUp(self) -> None:
        # Trial has its own ways with the log.
        self.patch(sys.modules["fuzz.watch"], "silence", lambda: None)

    def test_a_table(self) -> None:
        """A line for each target."""
        status, printed = self.fuzz("--target", "values", "--target", "decisions", "--inputs", "60", "--seconds", "9")
        self.assertEqual(status, 0, printed)
        self.assertEqual([line.split()[0] for line in printed.splitlines()], ["target", "values", "decisions", "all"])
        self.assertEqual(printed.split()[-1], "0")

    def test_one_input(self) -> None:
        """As it is printed when it failed."""
        status, printed = self.fuzz("--target", "values", "--input", r"b'\x03Bearer right'")
        self.assertEqual((status, printed), (0, "(3, True)\n"))

    def test_failures(self) -> None:
        """Each with the command that repeats it, and exit status 1."""
        self.patch(sys.modules["fuzz.__main__"], "load", lambda _: PLANTED)
        status, printed = self.fuzz("--target", "values", "--inputs", "2000")
        self.assertEqual(status, 1)
        self.assertIn("ZeroDivisionError", printed)
        self.assertIn(r"""again: python -m fuzz --target planted --input 'b'"'"'\xff'"'"''""", printed)

    def test_without_atheris(self) -> None:
        """It says how to get it."""
        self.patch(guided, "find_spec", lambda _: None)
        status, printed = self.fuzz("--coverage-guided", "values")
        self.assertEqual(status, 1)
        self.assertIn("wsaas[fuzz]", printed)
