"""Makes `twistd evcharge` known to Twisted."""

from twisted.application.service import ServiceMaker

evcharge = ServiceMaker(
    "evcharge", "evcharge.tap", "Charging network server for electric vehicles.", "evcharge"
)
