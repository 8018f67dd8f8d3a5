# gatemeter as a NixOS service, with the options that network-metrics-exporter's module has, so that one name in a host's
# configuration changes:
#
#   imports = [ ./gatemeter/packaging/nixos/module.nix ];
#   services.gatemeter = { enable = true; package = ...; trafficInterface = "br-lan"; };
{ config, lib, pkgs, ... }:

let
  cfg = config.services.gatemeter;

  quote = text: "'" + lib.replaceStrings [ "'" ] [ "'\\''" ] (toString text) + "'";

  # A section of the configuration in UCI syntax; lists are list options, and null is left to the default.
  section = type: name: options:
    let
      value = v: if lib.isBool v then (if v then "1" else "0") else v;
      line = option: v:
        if v == null then ""
        else if lib.isList v then lib.concatMapStrings (item: "\tlist ${option} ${quote (value item)}\n") v
        else "\toption ${option} ${quote (value v)}\n";
    in
    "config ${type} ${quote name}\n" + lib.concatStrings (lib.mapAttrsToList line options);

  # What is measured follows from the options; `settings` has the last word.
  defaults = {
    main = {
      http = true;
      listen = ":${toString cfg.port}";
      interval = cfg.updateInterval;
      textfile = "none";
      state_dir = "/var/lib/gatemeter";
    };
    clients = {
      interval = cfg.updateInterval;
      subnet = [ "${cfg.networkPrefix}.0/24/${cfg.trafficInterface}" ];
      accounting = if cfg.enableNftablesIntegration then "set" else "rules";
    };
    traffic = {
      subnet4 = [ "${cfg.networkPrefix}.0/24/${cfg.trafficInterface}" ];
    };
  };

  types = name: if name == "main" then "gatemeter" else name;

  file = pkgs.writeText "gatemeter.conf" (lib.concatStrings (
    lib.mapAttrsToList (name: section (types name) name) (lib.recursiveUpdate defaults cfg.settings)
    ++ map (section "target" "") cfg.targets
  ));
in
{
  options.services.gatemeter = {
    enable = lib.mkEnableOption "gatemeter, which measures a home network from its router";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.gatemeter;
      defaultText = lib.literalExpression "pkgs.gatemeter";
      description = "The package to use.";
    };

    port = lib.mkOption {
      type = lib.types.port;
      default = 9101;
      description = "Port to listen on.";
    };

    updateInterval = lib.mkOption {
      type = lib.types.ints.positive;
      default = 2;
      description = "Seconds between two updates.";
    };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether to open the port in the firewall.";
    };

    enableNftablesIntegration = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = ''
        Whether gatemeter counts the clients' bytes in an nftables table of its own. Otherwise it reads the rules commented
        tx_IP and rx_IP of a chain that somebody else keeps, by default CLIENT_TRAFFIC of the table inet filter.
      '';
    };

    networkPrefix = lib.mkOption {
      type = lib.types.str;
      default = "192.168.10";
      description = "The first three numbers of the LAN's addresses.";
    };

    trafficInterface = lib.mkOption {
      type = lib.types.str;
      default = "br-lan";
      description = "The LAN's interface.";
    };

    targets = lib.mkOption {
      type = lib.types.listOf lib.types.attrs;
      default = [ { host = "gateway"; } ];
      description = "Whom to probe, each with the options of a target section.";
    };

    settings = lib.mkOption {
      type = lib.types.attrsOf lib.types.attrs;
      default = { };
      example = lib.literalExpression ''{ main.allow = [ "192.168.10.0/24" ]; homeplug.enabled = true; }'';
      description = "Further options by section, as docs/configuration.md has them.";
    };
  };

  config = lib.mkIf cfg.enable {
    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall [ cfg.port ];

    systemd.services.gatemeter = {
      description = "Home network metrics for Prometheus";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ];
      serviceConfig = {
        ExecStart = "${cfg.package}/bin/gatemeter -c ${file}";
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        Restart = "always";
        RestartSec = 15;
        StateDirectory = "gatemeter";
        LimitMEMLOCK = "infinity";
        CapabilityBoundingSet = [ "CAP_NET_ADMIN" "CAP_NET_RAW" "CAP_BPF" "CAP_PERFMON" ];
        NoNewPrivileges = true;
        ProtectSystem = "strict";
        ReadWritePaths = [ "-/sys/fs/bpf" ];
        ProtectHome = true;
        PrivateTmp = true;
        PrivateDevices = true;
        ProtectClock = true;
        ProtectHostname = true;
        ProtectControlGroups = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        RestrictAddressFamilies = [ "AF_UNIX" "AF_INET" "AF_INET6" "AF_NETLINK" "AF_PACKET" ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        SystemCallFilter = [ "@system-service" "bpf" ];
        SystemCallErrorNumber = "EPERM";
        UMask = "0027";
      };
    };
  };
}
