// A member of hashicorp/memberlist under remote control: commands come as lines on standard input, events and
// answers leave as lines of JSON on standard output, memberlist's own log goes to standard error. It ends with its
// standard input.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

type member struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Meta    string `json:"meta"`
}

type line struct {
	At      float64  `json:"at"`
	Kind    string   `json:"kind"`
	Member  *member  `json:"member,omitempty"`
	Members []member `json:"members,omitempty"`
	Text    string   `json:"text,omitempty"`
	Error   string   `json:"error,omitempty"`
}

var output sync.Mutex

func say(what line) {
	output.Lock()
	defer output.Unlock()
	what.At = float64(time.Now().UnixNano()) / 1e9
	if err := json.NewEncoder(os.Stdout).Encode(what); err != nil {
		log.Fatal(err)
	}
}

func view(node *memberlist.Node) member {
	return member{node.Name, node.Address(), string(node.Meta)}
}

type delegate struct {
	sync.Mutex
	meta  []byte
	state []byte
}

func (d *delegate) NodeMeta(limit int) []byte {
	d.Lock()
	defer d.Unlock()
	return d.meta
}

func (d *delegate) NotifyMsg(message []byte) { say(line{Kind: "user", Text: string(message)}) }

func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte { return nil }

func (d *delegate) LocalState(join bool) []byte { return d.state }

func (d *delegate) MergeRemoteState(state []byte, join bool) {
	say(line{Kind: "state", Text: string(state)})
}

func (d *delegate) notify(kind string, node *memberlist.Node) {
	seen := view(node)
	say(line{Kind: kind, Member: &seen})
}

func (d *delegate) NotifyJoin(node *memberlist.Node)   { d.notify("join", node) }
func (d *delegate) NotifyLeave(node *memberlist.Node)  { d.notify("leave", node) }
func (d *delegate) NotifyUpdate(node *memberlist.Node) { d.notify("update", node) }

// obey carries out one command.
func obey(ring *memberlist.Memberlist, own *delegate, keyring *memberlist.Keyring, words []string) (line, error) {
	verb, rest := words[0], words[1:]
	answer := line{Kind: verb}
	one := strings.Join(rest, " ")
	switch verb {
	case "join":
		_, err := ring.Join(rest)
		return answer, err
	case "leave":
		return answer, ring.Leave(5 * time.Second)
	case "members":
		for _, node := range ring.Members() {
			answer.Members = append(answer.Members, view(node))
		}
		return answer, nil
	case "meta":
		own.Lock()
		own.meta = []byte(one)
		own.Unlock()
		return answer, ring.UpdateNode(5 * time.Second)
	case "send":
		for _, node := range ring.Members() {
			if node.Name == rest[0] {
				text := []byte(strings.Join(rest[1:], " "))
				if err := ring.SendReliable(node, text); err != nil {
					return answer, err
				}
				return answer, ring.SendBestEffort(node, text)
			}
		}
		return answer, fmt.Errorf("no member %s", rest[0])
	case "add-key", "use-key", "remove-key":
		key, err := hex.DecodeString(one)
		if err != nil {
			return answer, err
		}
		act := map[string]func([]byte) error{
			"add-key": keyring.AddKey, "use-key": keyring.UseKey, "remove-key": keyring.RemoveKey,
		}
		return answer, act[verb](key)
	}
	return answer, fmt.Errorf("no such command: %s", verb)
}

func main() {
	name := flag.String("name", "", "name of the member")
	bind := flag.String("bind", "", "address to bind and advertise")
	port := flag.Int("port", 7946, "port, UDP and TCP")
	key := flag.String("key", "", "key of the ring in hexadecimal")
	meta := flag.String("meta", "", "meta to announce")
	state := flag.Int("state", 0, "bytes of user state in exchanges of state")
	plain := flag.Bool("plain", false, "no application above memberlist, as in MetalLB: neither meta nor state")
	label := flag.String("label", "", "label of the ring, since memberlist 0.3.0")
	flag.Parse()

	secret, err := hex.DecodeString(*key)
	if err != nil {
		log.Fatal(err)
	}
	keyring, err := memberlist.NewKeyring(nil, secret)
	if err != nil {
		log.Fatal(err)
	}
	own := &delegate{meta: []byte(*meta), state: bytes.Repeat([]byte("s"), *state)}
	config := memberlist.DefaultLANConfig()
	config.Name, config.BindAddr, config.BindPort, config.AdvertisePort = *name, *bind, *port, *port
	config.Keyring, config.Events = keyring, own
	if !*plain {
		config.Delegate = own
	}
	config.LogOutput = os.Stderr
	if field := reflect.ValueOf(config).Elem().FieldByName("Label"); field.IsValid() {
		field.SetString(*label)
	} else if *label != "" {
		log.Fatal("this version of memberlist has no labels")
	}
	ring, err := memberlist.Create(config)
	if err != nil {
		log.Fatal(err)
	}
	say(line{Kind: "ready"})
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		words := strings.Fields(commands.Text())
		if len(words) == 0 {
			continue
		}
		answer, err := obey(ring, own, keyring, words)
		if err != nil {
			answer.Error = err.Error()
		}
		say(answer)
	}
}
