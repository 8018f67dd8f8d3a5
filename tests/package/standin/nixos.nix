# Evaluates a NixOS module without NixOS: as much of nixpkgs' lib as it uses, its options with their defaults, and what it
# would have set.
{ module, options }:

let
  lib = rec {
    inherit (builtins) isBool isList toString replaceStrings;
    mkOption = option: option // { isOption = true; };
    mkEnableOption = description: mkOption { default = false; inherit description; };
    mkIf = condition: content: { inherit condition content; };
    literalExpression = text: text;
    concatStrings = builtins.concatStringsSep "";
    concatMapStrings = f: list: concatStrings (map f list);
    mapAttrsToList = f: set: map (name: f name set.${name}) (builtins.attrNames set);
    recursiveUpdate = a: b:
      a // builtins.mapAttrs (name: value:
        if builtins.isAttrs value && builtins.isAttrs (a.${name} or null) then recursiveUpdate a.${name} value else value) b;
    types = {
      package = null; port = null; bool = null; str = null; attrs = null;
      ints.positive = null;
      listOf = type: null;
      attrsOf = type: null;
    };
  };
  pkgs = {
    gatemeter = "/package";
    coreutils = "/coreutils";
    # Where the path would stand, the text does, so that it can be looked at.
    writeText = name: text: text;
  };
  evaluated = import module { inherit lib pkgs; config.services.gatemeter = settings; };
  declared = evaluated.options.services.gatemeter;
  settings = builtins.mapAttrs (name: option: option.default) declared // { enable = true; } // options;
  set = evaluated.config.content;
  opened = set.networking.firewall.allowedTCPPorts;
  service = set.systemd.services.gatemeter.serviceConfig;
in
assert evaluated.config.condition;
{
  options = builtins.attrNames declared;
  firewall = if opened.condition then opened.content else [ ];
  command = service.ExecStart;
  inherit service;
  file = builtins.substring (builtins.stringLength "/package/bin/gatemeter -c ") 1000000 service.ExecStart;
}
