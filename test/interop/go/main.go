// The table of calls (calls.json), made with messages built at run time from the server's reflection.
//
//	go run . TABLE CONNECTION        (JSON files, written by scripts/interop.ts)
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"math"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/jhump/protoreflect/v2/grpcreflect"
	"github.com/jhump/protoreflect/v2/protoresolve"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

type row struct {
	Name     string          `json:"name"`
	RPC      string          `json:"rpc"`
	Request  json.RawMessage `json:"request"`
	Raw      *[]byte         `json:"raw"` // base64 of the very bytes to send
	Gzip     bool            `json:"gzip"`
	Response any             `json:"response"`
	Code     string          `json:"code"`
	Text     string          `json:"text"`
}

// connection names PEM files.
type connection struct {
	Target string `json:"target"`
	Roots  string `json:"roots"`
	Cert   string `json:"cert"`
	Key    string `json:"key"`
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (rawCodec) Name() string                       { return "proto" }

func read(path string, into any) {
	bytes, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(bytes, into)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func connect(c connection) *grpc.ClientConn {
	creds := insecure.NewCredentials()
	if c.Roots != "" {
		pem, err := os.ReadFile(c.Roots)
		if err != nil {
			log.Fatal(err)
		}
		config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
		config.RootCAs.AppendCertsFromPEM(pem)
		if c.Cert != "" {
			pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
			if err != nil {
				log.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		creds = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(c.Target, grpc.WithTransportCredentials(creds))
	if err != nil {
		log.Fatal(err)
	}
	return conn
}

// call answers as protobuf JSON, or a failure as [code, text].
func call(ctx context.Context, conn *grpc.ClientConn, client *grpcreflect.Client, r row) (any, error) {
	var options []grpc.CallOption
	if r.Gzip {
		options = append(options, grpc.UseCompressor("gzip"))
	}
	if r.Raw != nil {
		var reply []byte
		err := conn.Invoke(ctx, "/"+r.RPC, r.Raw, &reply, append(options, grpc.ForceCodec(rawCodec{}))...)
		return fmt.Sprintf("%x", reply), err
	}
	service, method, _ := strings.Cut(r.RPC, "/")
	file, err := client.FileContainingSymbol(protoreflect.FullName(service))
	if err != nil {
		return nil, err
	}
	descriptor := file.Services().ByName(protoreflect.FullName(service).Name()).Methods().ByName(protoreflect.Name(method))
	in, out := dynamicpb.NewMessage(descriptor.Input()), dynamicpb.NewMessage(descriptor.Output())
	types := protoresolve.TypesFromResolver(client.AsResolver())
	if err := (protojson.UnmarshalOptions{Resolver: types}).Unmarshal(r.Request, in); err != nil {
		return nil, err
	}
	if err := conn.Invoke(ctx, "/"+r.RPC, in, out, options...); err != nil {
		return nil, err
	}
	return toJSON(out, types)
}

func toJSON(message proto.Message, types protoresolve.TypeResolver) (any, error) {
	text, err := protojson.MarshalOptions{Resolver: types}.Marshal(message)
	if err != nil {
		return nil, err
	}
	var value any
	err = json.Unmarshal(text, &value)
	return value, err
}

// codeNames are the canonical names; grpc-go's own String() differs.
func codeName(code codes.Code) string {
	names := []string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
		"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}
	return names[code]
}

func outcome(conn *grpc.ClientConn, client *grpcreflect.Client, r row) any {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	answer, err := call(ctx, conn, client, r)
	if err == nil {
		return answer
	}
	if s, ok := status.FromError(err); ok {
		return []any{codeName(s.Code()), s.Message()}
	}
	return []any{"not a status", err.Error()}
}

func differences(expected, actual any, path string) []string {
	var found []string
	switch left := expected.(type) {
	case map[string]any:
		if right, ok := actual.(map[string]any); ok {
			for key := range left {
				found = append(found, differences(left[key], right[key], path+"."+key)...)
			}
			for key := range right {
				if _, known := left[key]; !known {
					found = append(found, fmt.Sprintf("%s.%s: not expected: %v", path, key, right[key]))
				}
			}
			return found
		}
	case []any:
		if right, ok := actual.([]any); ok && len(left) == len(right) {
			for i := range left {
				found = append(found, differences(left[i], right[i], fmt.Sprintf("%s[%d]", path, i))...)
			}
			return found
		}
	case float64:
		if right, ok := actual.(float64); ok && math.Abs(left-right) <= math.Max(1e-6, 1e-5*math.Abs(left)) {
			return nil
		}
	}
	if !reflect.DeepEqual(expected, actual) {
		found = append(found, fmt.Sprintf("%s: expected %v, got %v", path, expected, actual))
	}
	return found
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: calls TABLE CONNECTION")
	}
	var table []row
	var to connection
	read(os.Args[1], &table)
	read(os.Args[2], &to)
	passed, failed := 0, 0
	report := func(name string, found []string) {
		if len(found) == 0 {
			passed++
			fmt.Println("ok  ", name)
		} else {
			failed++
			fmt.Println("FAIL", name, strings.Join(found, "\n"))
		}
	}

	conn := connect(to)
	defer conn.Close()
	client := grpcreflect.NewClientAuto(context.Background(), conn)
	defer client.Reset()
	for _, r := range table {
		expected := r.Response
		if expected == nil {
			expected = []any{r.Code, r.Text}
		}
		report(r.Name, differences(expected, outcome(conn, client, r), "$"))
	}

	refuse := func(name string, to connection) {
		conn := connect(to)
		defer conn.Close()
		got := outcome(conn, nil, row{RPC: "grpc.health.v1.Health/Check", Raw: &[]byte{}})
		if list, ok := got.([]any); ok && list[0] == "UNAVAILABLE" {
			report("refused: "+name, nil)
		} else {
			report("refused: "+name, []string{fmt.Sprint(got)})
		}
	}
	if to.Cert != "" {
		refuse("a client without a certificate", connection{Target: to.Target, Roots: to.Roots})
	}
	if to.Roots != "" {
		refuse("a plaintext client", connection{Target: to.Target})
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}
