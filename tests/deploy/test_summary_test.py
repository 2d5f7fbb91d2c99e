"""A broken test must never be counted as a pass."""
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, "deploy")
import test_summary  # noqa: E402 (found through the line above)

PASSING = '<testcase name="A" status="run" classname="S"/>'
FAILING = '<testcase name="B" status="run" classname="S"><failure message="no"/></testcase>'
SKIPPED = '<testcase name="C" status="run" result="skipped" classname="S"><skipped/></testcase>'
DISABLED = '<testcase name="D" status="notrun" result="suppressed" classname="S"/>'


class TestSummaryTest(unittest.TestCase):
    def setUp(self):
        self._directory = tempfile.TemporaryDirectory()
        self.addCleanup(self._directory.cleanup)
        self._events = []

    def write(self, name, text):
        path = os.path.join(self._directory.name, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def add_test(self, label, status, cases=None, attempt=1):
        outputs = []
        if cases is not None:
            path = self.write("%d.xml" % len(self._events), "<testsuites><testsuite>%s</testsuite></testsuites>" % cases)
            outputs = [{"name": "test.xml", "uri": "file://" + path}]
        self._events.append({"id": {"testResult": {"label": label, "run": 1, "shard": 1, "attempt": attempt}},
                             "testResult": {"status": status, "testActionOutput": outputs}})

    def summarize(self, code=0):
        path = self.write("events.json", "\n".join(json.dumps(e) for e in self._events))
        return test_summary.summarize(path, code)[:3]

    def test_counts_cases(self):
        self.add_test("//a", "PASSED", PASSING + PASSING + SKIPPED + DISABLED)
        self.add_test("//b", "FAILED", PASSING + FAILING)
        self.assertEqual(self.summarize(3), (3, 1, 1))

    def test_crash_without_failed_case_is_a_failure(self):
        self.add_test("//a", "FAILED", PASSING)
        self.assertEqual(self.summarize(3), (1, 1, 0))

    def test_timeout_without_xml_is_a_failure(self):
        self.add_test("//a", "TIMEOUT")
        self.assertEqual(self.summarize(3), (0, 1, 0))

    def test_unreadable_xml_of_failed_test_is_a_failure(self):
        self.add_test("//a", "FAILED", "<broken")
        self.assertEqual(self.summarize(3), (0, 1, 0))

    def test_last_attempt_counts(self):
        self.add_test("//a", "FAILED", FAILING)
        self.add_test("//a", "PASSED", PASSING, attempt=2)
        self.assertEqual(self.summarize(), (1, 0, 0))

    def test_target_that_did_not_build_is_a_failure(self):
        self._events.append({"id": {"targetCompleted": {"label": "//a"}}, "aborted": {"reason": "x"}})
        self.assertEqual(self.summarize(1), (0, 1, 0))

    def test_bazel_trouble_is_a_failure(self):
        self.add_test("//a", "PASSED", PASSING)
        self.assertEqual(self.summarize(37), (1, 1, 0))


if __name__ == "__main__":
    unittest.main()
