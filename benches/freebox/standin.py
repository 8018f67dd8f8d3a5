"""Does in one run what freebox-monitoring does in one: logs in, asks for every group, one request after the other, and
prints a line for each figure. Our own script, for comparison, with nothing but Python's standard library.

    standin.py http://BOX credentials.json
"""
import argparse
import hashlib
import hmac
import json
import urllib.error
import urllib.request

TIMEOUT = 5


class Box:
    def __init__(self, url):
        self.url, self.session = url, None
        found = self.ask(url + "/api_version")
        self.base = url + found["api_base_url"] + "v" + found["api_version"].split(".")[0] + "/"

    def ask(self, url, body=None):
        headers = {"Content-Type": "application/json"}
        if self.session:
            headers["X-Fbx-App-Auth"] = self.session
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(url, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            return {}

    def get(self, path):
        return self.ask(self.base + path).get("result") or {}

    def login(self, credentials):
        challenge = self.get("login/")["challenge"]
        password = hmac.new(credentials["app_token"].encode(), challenge.encode(), hashlib.sha1).hexdigest()
        answer = self.ask(self.base + "login/session/", {"app_id": credentials["app_id"], "password": password})
        self.session = answer["result"]["session_token"]


def collect(box):
    """Answers by measurement and tags."""
    yield "", box.get("connection/config/")
    connection = box.get("connection/")
    yield "", connection
    yield "", box.get("connection/ftth/" if connection.get("media") == "ftth" else "connection/xdsl/")
    yield "lte", box.get("connection/lte/config/")
    yield "sys", box.get("system/")
    for port in box.get("switch/status/"):
        yield "switch", port
        yield "switch", box.get("switch/port/%s/stats" % port["id"])
    for disk in box.get("storage/disk/"):
        yield "storage", disk
    for point in box.get("wifi/ap/"):
        yield "wifi", point
        if point.get("status", {}).get("state") == "active":
            for station in box.get("wifi/ap/%s/stations" % point["id"]):
                yield "wifi", station
    yield "dhcp", box.get("dhcp/config/")
    for path in "dhcp/dynamic_lease/", "dhcp/static_lease/":
        for lease in box.get(path):
            yield "dhcp", lease
    for interface in box.get("lan/browser/interfaces/"):
        if interface.get("host_count", 0) > 0:
            for host in box.get("lan/browser/%s/" % interface["name"]):
                yield "lan", host
    yield "call", box.get("call/account/")
    for call in box.get("call/log/"):
        yield "call", call
    yield "vm", box.get("vm/info/")
    for machine in box.get("vm/"):
        yield "vm", machine
    for server in box.get("vpn/"):
        yield "vpn", server
        yield "vpn", box.get("vpn/%s/config/" % server["name"])
    for connection in box.get("vpn/connection/"):
        yield "vpn", connection
    for client in box.get("vpn_client/config/"):
        yield "vpnclient", client
    yield "vpnclient", box.get("vpn_client/status")


def figures(value, name):
    """Every number and switch below a value, with its name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from figures(inner, name + "_" + key)
    elif isinstance(value, (bool, int, float)):
        yield name, int(value) if isinstance(value, bool) else value


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("credentials")
    words = parser.parse_args()
    with open(words.credentials, encoding="utf-8") as file:
        credentials = json.load(file)
    box = Box(words.url)
    box.login(credentials)
    lines = []
    for measure, answer in collect(box):
        tags = ",".join("%s=%s" % (key, str(answer[key]).replace(" ", "\\ ")) for key in ("id", "name") if key in answer)
        for name, value in figures(answer, "freebox" + ("_" + measure if measure else "")):
            lines.append("%s%s value=%s" % (name, "," + tags if tags else "", value))
    print("\n".join(lines))


main()
