#!/usr/bin/env python3
"""delay.py OUTSIDE INSIDE LINK BRIDGE MS [LOSS% [BYTES]]  - delays (and loses) what passes a machine's link, each way, and lets
at most so many bytes a second pass (more waits for a second at most, then it is lost, as in a router), without the
kernel's sch_netem: takes LINK off the BRIDGE in namespace OUTSIDE and pumps frames between the two, from here. INSIDE is
the machine's namespace. Says "delaying" when it does; ends, and puts the link back, when stdin is closed."""
import ctypes, fcntl, heapq, os, random, select, socket, struct, subprocess, sys, time

outside, inside, link, bridge = sys.argv[1:5]
delay, loss = float(sys.argv[5]) / 1e3, float(sys.argv[6]) / 100 if len(sys.argv) > 6 else 0
rate = float(sys.argv[7]) if len(sys.argv) > 7 else 0
TAP = 'd-' + link


def enter(namespace):
    with open('/run/netns/' + namespace) as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0x40000000) != 0:  # CLONE_NEWNET
            sys.exit('cannot enter the namespace ' + namespace)


def no_offload(device):
    """As `ethtool -K device tx off tso off gso off gro off`: the pump needs whole, checksummed frames."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for command in (0x1f, 0x24, 0x2c, 0x17):  # ETHTOOL_STSO, SGSO, SGRO, STXCSUM
        value = ctypes.create_string_buffer(struct.pack('II', command, 0), 8)
        request = struct.pack('16sP', device.encode(), ctypes.addressof(value)) + b'\0' * 16
        try:
            fcntl.ioctl(sock, 0x8946, request)  # SIOCETHTOOL
        except OSError:
            pass  # a driver without that offload


def ip(words):
    subprocess.run(['ip', 'link', 'set'] + words.split(), check=True)


def pump(tap, packets):
    queue, count = [], 0
    free = {True: 0.0, False: 0.0}  # when each way has carried what is on it
    while True:
        wait = max(0, queue[0][0] - time.monotonic()) if queue else None
        ready, _, _ = select.select([tap, packets, sys.stdin], [], [], wait)
        if sys.stdin in ready:
            return
        now = time.monotonic()
        for source in ready:
            for _ in range(64):
                try:
                    if source is tap:
                        frame = os.read(tap, 65536)
                    else:
                        frame, address = packets.recvfrom(65536)
                        if address[2] == 4:  # PACKET_OUTGOING: our own
                            continue
                except BlockingIOError:
                    break
                if loss and random.random() < loss:
                    continue
                carried, way = now, source is tap
                if rate:
                    if free[way] > now + 1:
                        continue
                    carried = free[way] = max(free[way], now) + len(frame) / rate
                count += 1
                heapq.heappush(queue, (carried + delay, count, way, frame))
        while queue and queue[0][0] <= time.monotonic():
            _, _, from_tap, frame = heapq.heappop(queue)
            try:
                packets.send(frame) if from_tap else os.write(tap, frame)
            except OSError:
                pass  # a full buffer loses a frame, as a wire does


enter(inside)
no_offload('host0')
enter(outside)
no_offload(link)
tap = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH', TAP.encode(), 0x0002 | 0x1000))  # TUNSETIFF: IFF_TAP | IFF_NO_PI
ip('%s master %s up' % (TAP, bridge))
ip('%s nomaster promisc on' % link)
try:
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    packets.bind((link, 0))
    packets.setblocking(False)
    print('delaying', flush=True)
    pump(tap, packets)
finally:
    ip('%s promisc off master %s' % (link, bridge))
