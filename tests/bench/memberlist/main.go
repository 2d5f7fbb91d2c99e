// A node of a hashicorp/memberlist cluster with the library's LAN defaults, for deploy/bench.sh
// membership: the same command line and output as gossip_node.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sys/unix"
)

// printer writes one line per event: CLOCK_MONOTONIC in ns, what the member is now, its name.
type printer struct{}

func report(state, name string) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d %s %s\n", now.Nano(), state, name)
}

func (printer) NotifyJoin(node *memberlist.Node)   { report("alive", node.Name) }
func (printer) NotifyUpdate(node *memberlist.Node) {}
func (printer) NotifyLeave(node *memberlist.Node) {
	if node.State == memberlist.StateLeft {
		report("left", node.Name)
		return
	}
	report("dead", node.Name)
}

func listenOn(config *memberlist.Config, address string) error {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return err
	}
	config.BindAddr, config.AdvertiseAddr = host, host
	config.BindPort, config.AdvertisePort = port, port
	return nil
}

func main() {
	log.SetFlags(0)
	name := flag.String("name", "", "unique in the cluster")
	listen := flag.String("listen", "", "IP:PORT")
	seeds := flag.String("seeds", "", "IP:PORT,...: members to join")
	flag.Int("epoch", 1, "ignored: memberlist has no boot epoch")
	flag.Parse()

	config := memberlist.DefaultLANConfig()
	config.Name = *name
	config.Events = printer{}
	config.Logger = log.New(io.Discard, "", 0)
	if err := listenOn(config, *listen); err != nil {
		log.Fatal(err)
	}
	list, err := memberlist.Create(config)
	if err != nil {
		log.Fatal(err)
	}
	// As an application would: try until somebody answers.
	for *seeds != "" && list.NumMembers() < 2 {
		if _, err := list.Join(strings.Split(*seeds, ",")); err != nil || list.NumMembers() < 2 {
			time.Sleep(200 * time.Millisecond)
		}
	}
	// Lives until its standard input ends.
	_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
}
