"""Runs named checks and prints one line of JSON for each: {"check": NAME, "result": "ok" or what went wrong}."""

import json
import sys
import time
import traceback

import kubernetes

_checks = []


def check(function):
    """Registers a check; its name is the function's."""
    _checks.append(function)
    return function


def run_all(only=()):
    for function in _checks:
        if only and function.__name__ not in only:
            continue
        started = time.monotonic()
        try:
            function()
            result = "ok"
        except Exception:
            result = traceback.format_exc(limit=-4)
        print(json.dumps({"check": function.__name__, "result": result, "seconds": round(time.monotonic() - started, 1)}))
        sys.stdout.flush()


def equal(found, wanted):
    assert found == wanted, f"found {found!r}, wanted {wanted!r}"


def refused(status, call, *args, **kwargs):
    """Calls; returns the Status object of the refusal, which must have this HTTP status."""
    try:
        call(*args, **kwargs)
    except kubernetes.client.exceptions.ApiException as error:
        equal(error.status, status)
        return json.loads(error.body) if error.body else {"reason": error.reason}
    raise AssertionError(f"was not refused with {status}")


def eventually(what, ask, seconds=30):
    """Asks until the answer is true; returns it."""
    end = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)
