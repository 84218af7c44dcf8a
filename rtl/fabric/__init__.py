"""What joins the nodes: links, routers, and a switch if the fabric is a crossbar. Knows packets, but not the NIC.

A router or injector, or a switch, has one gated clock with the links that end there.
A gate must be open at every edge at which `quiescent` of any block behind it is low, and nothing else opens it: every
`quiescent` falls, combinationally, with whatever makes the next edge matter. For a router or injector that is `valid`
of a stream with a flit that it will look at or take, `valid` of its own flit on a link, or a credit that comes back;
for a link, `valid` at its beginning, `ready` for a flit at its end, or anything that is under way. So both sides of
every handshake are clocked at the edge at which it happens; a node that takes packets from a block here must in the
same way be clocked while `valid` and its `ready` are high.
"""
