#!/usr/bin/env python3
"""Counts test cases from Bazel's build event file and the test.xml of each test that it names.

usage: test_summary.py BUILD_EVENTS_JSON BAZEL_EXIT_CODE

Ends with the line "N passed, N failed" (and ", N skipped" if any was). A target that crashed, timed out or did not build counts as
one failure unless its test.xml names failed cases. Exits 0 if something passed and nothing failed, 1 otherwise.
"""
import collections
import json
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree

Counts = collections.namedtuple("Counts", "passed failed skipped failed_names")


def read_events(path):
    """Test attempts by label and run (the last attempt counts), and labels that did not build."""
    attempts = {}
    not_built = set()
    with open(path, encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            identity = event.get("id", {})
            if "testResult" in identity:
                key = identity["testResult"]
                label = key["label"]
                attempts[(label, key.get("run", 1), key.get("shard", 1))] = event.get("testResult", {})
            elif "targetCompleted" in identity:
                if not event.get("completed", {}).get("success", False):
                    not_built.add(identity["targetCompleted"]["label"])
    return attempts, not_built


def cases_in(xml_path):
    """(passed, failed, skipped, names of the failed) in one test.xml; None if it can't be read."""
    try:
        root = ElementTree.parse(xml_path).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    passed = failed = skipped = 0
    names = []
    for case in root.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            names.append("%s.%s" % (case.get("classname", ""), case.get("name", "")))
        elif case.find("skipped") is not None or case.get("result") == "skipped":
            skipped += 1
        elif case.get("status") == "notrun" or case.get("result") == "suppressed":
            continue  # Left out by a filter, or disabled in the source.
        else:
            passed += 1
    return Counts(passed, failed, skipped, names)


def xml_of(result):
    for output in result.get("testActionOutput", []):
        if output.get("name") == "test.xml":
            return urllib.parse.unquote(urllib.parse.urlparse(output.get("uri", "")).path)
    return ""


def summarize(events_path, bazel_exit_code):
    attempts, not_built = read_events(events_path)
    passed = failed = skipped = 0
    failures = []
    for (label, _, _), result in sorted(attempts.items()):
        counts = cases_in(xml_of(result)) or Counts(0, 0, 0, [])
        passed += counts.passed
        failed += counts.failed
        skipped += counts.skipped
        failures += ["%s %s" % (label, name) for name in counts.failed_names]
        status = result.get("status", "NO_STATUS")
        if status not in ("PASSED", "FLAKY") and counts.failed == 0:
            failed += 1
            failures.append("%s (%s)" % (label, status.lower().replace("_", " ")))
        elif status in ("PASSED", "FLAKY") and counts == Counts(0, 0, 0, []) and not xml_of(result):
            passed += 1  # A test that is not GoogleTest's and left no xml.
    tested = {label for label, _, _ in attempts}
    for label in sorted(not_built - tested):
        failed += 1
        failures.append("%s (did not build)" % label)
    # 3: tests failed, 4: no tests found. Anything else but 0 is Bazel's own trouble.
    if bazel_exit_code != 0 and failed == 0:
        failed += 1
        failures.append("bazel test exited with %d" % bazel_exit_code)
    return Counts(passed, failed, skipped, failures)


def main():
    try:
        counts = summarize(sys.argv[1], int(sys.argv[2]))
    except (OSError, ValueError) as error:
        counts = Counts(0, 1, 0, ["no test results: %s" % error])
    print()
    for name in counts.failed_names:
        print("FAILED", name)
    skipped = ", %d skipped" % counts.skipped if counts.skipped else ""
    print("%d passed, %d failed%s" % (counts.passed, counts.failed, skipped))
    return 0 if counts.failed == 0 and counts.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
