"""Ids that requests bring along: the headers in which they come, and what these look like.

Load balancers, CDNs and tracing libraries each have a header of their own. All of them hand on, in
whole or in part, what a visitor has sent.
"""

import re
from collections.abc import Iterable
from functools import cache

SENT = ("mallory-" + "1" * 24, "m" * 16, "0123456789abcdef" * 2, "0123456789ABCDEF" * 4)
SENT += ("6f1c2d3e-4b5a-4c7d-8e9f-0a1b2c3d4e5f", "01J8ZQ4Y6K3M5N7P9R1S3T5V7X", "7" * 20)
SENT += ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",)
NAMES = ("x-request-id", "request-id", "x-correlation-id", "x-trace-id", "x-b3-traceid")
NAMES += ("x-amzn-trace-id", "cf-ray", "x_request_id", "x-original-request-id", "traceparent")
NAMES += ("x-cloud-trace-context",)
OF_VENDORS = {
    "x-amzn-trace-id": "Root=1-67891233-abcdef012345678912345678",
    "x-amzn-requestid": "d1f2e3c4-b5a6-4978-8069-5a4b3c2d1e0f",
    "x-amz-cf-id": "3AGbZ2wYxQ9nHkT5uVr8sLmPqE1oJcD4fRtWgXzKbNvMhUyOaSdF7w==",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": "congo=t61rcWkgMzE9qLx7,rojo=00f067aa0ba902b7",
    "b3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90",
    "x-b3-traceid": "463ac35c9f6413ad48485a3953bb6124",
    "x-b3-spanid": "a2fb4a1d1a96d312",
    "x-cloud-trace-context": "105445aa7843bc8bf206b12000100000/1;o=1",
    "x-appengine-request-log-id": "5c9f7b2e00ff0b1d3a4c5e6f7a8b9c0d1e2f3a4b",
    "cf-ray": "230b030023ae2822-SJC",
    "request-id": "|5bf92f3577b34da6a3ce929d0e0e4737.a1b2c3d4_1.",
    "x-ms-request-id": "0c5d9a7e-3b1f-4e2d-9c8b-7a6f5e4d3c2b",
    "x-ms-client-request-id": "1d6eab8f-4c2a-4f3e-8d9c-8b7a6f5e4d3c",
    "x-arr-log-id": "2e7fbc9a-5d3b-4a4f-9ead-9c8b7a6f5e4d",
    "x-azure-ref": "0zrbOYwAAAAB2oRJ7tqQzT5mS2VhF1cZQRlJBMzFFREdFMDMxNw",
    "uber-trace-id": "6e0c63257de34c92bf9efcd03927272e:05c4b1a2d3e4f5a6:0:1",
    "sentry-trace": "771a43a4192642f0b136d5159a501700-7e1b4b1d3f2a9c80-1",
    "x-datadog-trace-id": "4815162342108151623",
    "newrelic": "eyJ2IjpbMCwxXSwiZCI6eyJ0eSI6IkFwcCIsImFjIjoiMSJ9fQ==",
    "elastic-apm-traceparent": "00-9cf92f3577b34da6a3ce929d0e0e4738-10f067aa0ba902b8-01",
    "x-vercel-id": "fra1::iad1::x7k2m-1612345678901-0123456789ab",
    "fly-request-id": "01HQ8Z4Y6K3M5N7P9R1S3T5V7W-fra",
    "x-akamai-request-id": "1a2b3c4d5e6f7a8b",
    "x-kong-request-id": "9f86d081884c7d659a2feaa0c55ad015",
    "x-envoy-request-id": "3f80cdab-6e4c-4b5a-afbe-ad9c8b7a6f5e",
    "x-nginx-request-id": "8f14e45fceea167a5a36dedd4bea2543",
    "x-varnish": "32770 327681234567890",
    "x-unique-id": "CB007107:C0A8_05DC:01BB_65A1B2C3_0007:1A2B",
    "x-request-uuid": "4091deac-7f5d-4c6b-b0cf-bead9c8b7a6f",
    "x-transaction-id": "51a2efbd-806e-4d7c-81d0-cfbead9c8b7a",
    "x-client-trace-id": "62b3f0ce-917f-4e8d-92e1-d0cfbead9c8b",
    "correlation-id": "73c401df-a280-4f9e-a3f2-e1d0cfbead9c",
    "idempotency-key": "84d512e0-b391-40af-b403-f2e1d0cfbead",
    "x-session-id": "2ZyQ0vJ8nB1kUe4RtWmC5xHsLgA",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}
QUERY = "request_id={0}&trace_id={0}&x-request-id={0}&rid={0}"
COOKIES = "request_id={0}; trace_id={0}; x-request-id={0}; rid={0}"
VALUES = (*SENT, *OF_VENDORS.values(), "1-67891233-abcdef012345678912345678")
A_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{1,40}")
RUN = 12  # letters and digits: by chance no id of a thousand has so many of these in a row
BETWEEN = re.compile(r"[\W_]")


def one_of_each_shape() -> list[str]:
    """Return values that differ in more than their digits and the letters of hexadecimal ones."""
    return [*{re.sub("[0-9a-f]", "0", each): each for each in VALUES}.values()]


def names_among(texts: Iterable[str]) -> list[str]:
    """Return what may be a header among the texts of a module, as servers write it."""
    return sorted({each.lower() for each in texts if A_NAME.fullmatch(each)})


def is_brought(request_id: str) -> bool:
    """Tell whether an id has a run of letters that some of these have, whatever stands between."""
    return not _runs(request_id).isdisjoint(_all_runs())


@cache
def _all_runs() -> frozenset[str]:
    return frozenset().union(*map(_runs, VALUES))


def _runs(text: str) -> set[str]:
    letters = BETWEEN.sub("", text).lower()
    return {letters[at : at + RUN] for at in range(len(letters) - RUN + 1)}
