"""Sections of `benchmarks.device_acceptance`: what a device computes, how fast, in how much memory.

A section is a function (context, result) -> None that fills the dict `result`, plain values for
JSON, as it goes: what it has measured before it fails is kept. Checks go to
`context.report.require`.
"""
