// Asks a model server about one flower. No generated code: the message types come from the server's reflection.
//
//	go run .            SERVER defaults to localhost:8500
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jhump/protoreflect/v2/grpcreflect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// call sends one unary request, given and answered as JSON.
func call(ctx context.Context, conn *grpc.ClientConn, service, method, request string) (proto.Message, error) {
	client := grpcreflect.NewClientAuto(ctx, conn)
	defer client.Reset()
	file, err := client.FileContainingSymbol(protoreflect.FullName(service))
	if err != nil {
		return nil, err
	}
	name := protoreflect.FullName(service).Name()
	descriptor := file.Services().ByName(name).Methods().ByName(protoreflect.Name(method))
	in, out := dynamicpb.NewMessage(descriptor.Input()), dynamicpb.NewMessage(descriptor.Output())
	if err := protojson.Unmarshal([]byte(request), in); err != nil {
		return nil, err
	}
	return out, conn.Invoke(ctx, fmt.Sprintf("/%s/%s", service, method), in, out)
}

func main() {
	server := os.Getenv("SERVER")
	if server == "" {
		server = "localhost:8500"
	}
	conn, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	answer, err := call(ctx, conn, "tensorflow.serving.PredictionService", "Predict", `{
		"modelSpec": {"name": "iris", "signatureName": "serving_default"},
		"inputs": {"input": {
			"dtype": "DT_FLOAT",
			"tensorShape": {"dim": [{"size": 1}, {"size": 4}]},
			"floatVal": [5.1, 3.5, 1.4, 0.2]
		}}
	}`)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(protojson.Format(answer))

	status, err := call(ctx, conn, "tensorflow.serving.ModelService", "GetModelStatus", `{"modelSpec": {"name": "iris"}}`)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(protojson.Format(status))
}
