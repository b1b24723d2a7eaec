"""Virtual networks, and the cards by which guests are plugged into them.

networks     all networks of a lab; `network`: one; `changes`: while guests use it
wish         what a network shall be; `subnets`, `cidr`: its addresses; `surroundings`: what
             it must not run into
interfaces   a guest's cards; `interface`: one; `cabling`: how one is changed
plugs        who is plugged into what; `topology`: all of it, as plain data
forwarding   from a browser's port to a guest's; `capture`: tcpdump while a `with` lasts
"""
