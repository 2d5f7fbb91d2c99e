import io.undertow.Undertow;
import io.undertow.server.handlers.proxy.LoadBalancingProxyClient;
import io.undertow.server.handlers.proxy.ProxyHandler;
import java.net.URI;

/** Undertow's load balancing client with ranked affinity: PORT NODE=PORT... */
public class UndertowBalancer {
  public static void main(String[] arguments) throws Exception {
    LoadBalancingProxyClient client = new LoadBalancingProxyClient()
        .addSessionCookieName("JSESSIONID").setRankedRoutingDelimiter(".")
        .setProblemServerRetry(1).setConnectionsPerThread(20);
    for (int i = 1; i < arguments.length; ++i) {
      String[] host = arguments[i].split("=");
      client.addHost(new URI("http://127.0.0.1:" + host[1]), host[0]);
    }
    ProxyHandler handler = ProxyHandler.builder().setProxyClient(client).setMaxRequestTime(10000).setMaxConnectionRetries(3).build();
    Undertow.builder().addHttpListener(Integer.parseInt(arguments[0]), "127.0.0.1").setHandler(handler).setIoThreads(1).setWorkerThreads(2)
        .build().start();
  }
}
